// One call of the model on @ENGINE@, from an Android application; demo_jni.cpp speaks to the engine.
package edgeops.demo

import java.io.File
import java.nio.ByteBuffer

class Demo(folder: File) : AutoCloseable {
    private val handle = load(
        File(folder, MODEL_FILE).path,
        INPUTS.map { it.engine }.toTypedArray(),
        OUTPUTS.map { it.engine }.toTypedArray()
    )

    /** Answer one call: a direct buffer of float32 for each of [INPUTS], an array an output. */
    fun run(inputs: List<ByteBuffer>): Map<String, FloatArray> {
        require((INPUTS + OUTPUTS).all { it.dtype == "float32" }) { "this demo is for float32" }
        val shapes = INPUTS.map { tensor -> IntArray(tensor.shape.size) { tensor.shape[it].toInt() } }
        val answers = run(handle, inputs.toTypedArray(), shapes.toTypedArray())
        return OUTPUTS.map { it.name }.zip(answers.toList()).toMap()
    }

    override fun close() = unload(handle)

    private external fun load(path: String, inputs: Array<String>, outputs: Array<String>): Long

    private external fun run(
        handle: Long,
        inputs: Array<ByteBuffer>,
        shapes: Array<IntArray>
    ): Array<FloatArray>

    private external fun unload(handle: Long)

    companion object {
        init {
            System.loadLibrary("edgeops_demo")
        }
    }
}
