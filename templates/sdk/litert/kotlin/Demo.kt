// One call of the model on LiteRT, from an Android application.
package edgeops.demo

import java.io.File
import java.nio.ByteBuffer
import org.tensorflow.lite.Interpreter

class Demo(folder: File) : AutoCloseable {
    private val interpreter =
        Interpreter(File(folder, MODEL_FILE), Interpreter.Options().setNumThreads(1))

    init {
        INPUTS.forEachIndexed { number, tensor ->
            val shape = IntArray(tensor.shape.size) { tensor.shape[it].toInt() }
            interpreter.resizeInput(input(tensor, number), shape)
        }
        interpreter.allocateTensors()
    }

    /** Answer one call: a direct buffer for each of [INPUTS], one for each output by its name. */
    fun run(inputs: List<ByteBuffer>): Map<String, ByteBuffer> {
        val given = arrayOfNulls<Any>(INPUTS.size)
        INPUTS.forEachIndexed { number, tensor ->
            inputs[number].rewind()
            given[input(tensor, number)] = inputs[number]
        }
        val buffers = OUTPUTS.map { it.buffer() }
        val places = OUTPUTS.indices.associate { output(OUTPUTS[it], it) to buffers[it] as Any }
        interpreter.runForMultipleInputsOutputs(given, places)
        buffers.forEach { it.rewind() }
        return OUTPUTS.map { it.name }.zip(buffers).toMap()
    }

    override fun close() = interpreter.close()

    private fun input(tensor: Tensor, number: Int): Int =
        (0 until interpreter.inputTensorCount)
            .firstOrNull { interpreter.getInputTensor(it).name() == tensor.engine } ?: number

    private fun output(tensor: Tensor, number: Int): Int =
        (0 until interpreter.outputTensorCount)
            .firstOrNull { interpreter.getOutputTensor(it).name() == tensor.engine } ?: number
}
