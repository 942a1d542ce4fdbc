// One call of the model on ONNX Runtime, from an Android application.
package edgeops.demo

import ai.onnxruntime.OnnxJavaType
import ai.onnxruntime.OnnxTensor
import ai.onnxruntime.OrtEnvironment
import ai.onnxruntime.OrtSession
import java.io.File
import java.nio.ByteBuffer

class Demo(folder: File) : AutoCloseable {
    private val environment = OrtEnvironment.getEnvironment()
    private val session: OrtSession =
        environment.createSession(File(folder, MODEL_FILE).path, OrtSession.SessionOptions())

    /** Answer one call: a direct buffer for each of [INPUTS], an array of numbers an output. */
    fun run(inputs: List<ByteBuffer>): Map<String, Any> {
        val tensors = INPUTS.zip(inputs).associate { (tensor, buffer) ->
            buffer.rewind()
            tensor.engine to
                OnnxTensor.createTensor(environment, buffer, tensor.shape, type(tensor.dtype))
        }
        try {
            session.run(tensors, OUTPUTS.map { it.engine }.toSet()).use { result ->
                return OUTPUTS.associate { it.name to result.get(it.engine).get().value }
            }
        } finally {
            tensors.values.forEach { it.close() }
        }
    }

    override fun close() = session.close()

    private fun type(dtype: String): OnnxJavaType = when (dtype) {
        "float32" -> OnnxJavaType.FLOAT
        "float64" -> OnnxJavaType.DOUBLE
        "int64" -> OnnxJavaType.INT64
        "int32" -> OnnxJavaType.INT32
        "int16" -> OnnxJavaType.INT16
        "int8" -> OnnxJavaType.INT8
        "uint8" -> OnnxJavaType.UINT8
        "bool" -> OnnxJavaType.BOOL
        else -> throw IllegalArgumentException("this demo does not handle elements of type $dtype")
    }
}
