// What the model of the target @TARGET@ takes and answers. Written by edgeops pack.
package edgeops.demo

import java.nio.ByteBuffer
import java.nio.ByteOrder

/** The file in the variant's folder that the engine opens. */
const val MODEL_FILE = "@MODEL_FILE@"

/** An input or output: the model's name, the engine's, its shape for one sample, its dtype. */
data class Tensor(val name: String, val engine: String, val shape: LongArray, val dtype: String) {
    val bytes: Int get() = shape.fold(1L) { product, size -> product * size }.toInt() * itemSize(dtype)

    /** Return room for this tensor, in the byte order of the processor. */
    fun buffer(): ByteBuffer = ByteBuffer.allocateDirect(bytes).order(ByteOrder.nativeOrder())
}

val INPUTS = listOf(
@INPUTS@
)

val OUTPUTS = listOf(
@OUTPUTS@
)

fun itemSize(dtype: String): Int = when (dtype) {
    "float64", "int64", "uint64" -> 8
    "float32", "int32", "uint32" -> 4
    "float16", "int16", "uint16" -> 2
    "int8", "uint8", "bool" -> 1
    else -> throw IllegalArgumentException("this demo does not handle elements of type $dtype")
}
