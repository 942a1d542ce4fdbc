"""The names behind the numbers in a .mnn file.

Source: MNN's schema, enums OpType and DataType of MNN.fbs and Type.fbs. A number in the text says
where the names after it begin to count.
"""

from __future__ import annotations

_OPERATORS_TEXT = """
0 AbsVal QuantizedAdd ArgMax AsString InstanceNorm BatchToSpaceND Copy BinaryOp Bnll Cast Concat
Const Convolution ConvolutionDepthwise Crop CropAndResize ImageProcess Deconvolution
DeconvolutionDepthwise Dequantize DetectionOutput Dropout Eltwise ELU Unique Exp ExpandDims Fill
Flatten Im2Col Gather GatherV2 Im2Seq InnerProduct Input Interp Log LRN LSTM MatMul MoE
NonMaxSuppression NonMaxSuppressionV2 Normalize Pack Padding Permute Pooling Power PReLU
PriorBox Proposal QuantizedAvgPool QuantizedBiasAdd QuantizedConcat QuantizedDepthwiseConv2D
QuantizedLogistic RasterAndInterpolate QuantizedMaxPool Texture RasterDiff QuantizedReshape
QuantizedSoftmax QuantizeMaxMin QuantizeV2 Range Rank ReduceJoin Reduction ReLU ReLU6
RequantizationRange Requantize Reshape Resize RNN ROIPooling Scale Selu Seq2Out Shape Sigmoid
Size Slice SliceTf Softmax SpaceToBatchND SpatialProduct Col2Im Segment Squeeze StridedSlice
CastLike StringSplit StringToNumber TanH TfQuantizedConv2D Threshold Tile TopKV2 Transpose
UnaryOp Unpack Where Moments RNNSequenceGRU BatchMatMul Unsqueeze CosineSimilarity DepthToSpace
SpaceToDepth ReverseSequence Pooling3D Convolution3D MatrixBandPart GatherND
DetectionPostProcess UnravelIndex ScatterNd OneHot BroadcastTo Dilation2D Interp3D
128 Raster ConvertTensor ArgMin LinSpace RandomUniform TensorArray TensorArraySize
TensorArrayRead TensorArrayWrite TensorArrayGather TensorArrayScatter TensorArraySplit
TensorArrayConcat LSTMBlockCell Reverse ROIAlign RandomNormal TensorArrayInsert TensorArrayErase
EyeLike CumSum Det CumProd ScatterElements GatherElements Svd Histogram DynamicQuant Stft
256 Plugin Select ZerosLike Broastcast SetDiff1D ReluGrad Identity PoolGrad SoftmaxGrad
Conv2DBackPropFilter TrainableParam BatchNorm ConvTranspose3D ZeroGrad
299 Attention FmhaV2 Fmhca SeqLen2Spatial SplitGeLU GroupNorm LinearAttention RoPE FusedLinear
GatedRMSNorm
512 Extra ConvInt8 Int8ToFloat DepthwiseConvInt8
517 FloatToInt8 EltwiseInt8
600 While If
603 LayerNorm GridSample
"""
_DTYPES_TEXT = """
invalid float32 float64 int32 uint8 int16 int8 str complex64 int64 bool qint8 quint8 qint32 bfloat16
qint16 quint16 uint16 complex128 float16 resource variant
"""
_SOURCES_TEXT = "Caffe TensorFlow TFLite ONNX Torch"


def _numbered(text: str) -> dict[int, str]:
    names = {}
    number = 0
    for word in text.split():
        if word.isdigit():
            number = int(word)
            continue
        names[number] = word
        number += 1
    return names


_OPERATORS = _numbered(_OPERATORS_TEXT)
_DTYPES = _numbered(_DTYPES_TEXT)
_SOURCES = _numbered(_SOURCES_TEXT)


def operator_name(number: int) -> str:
    """Return the name of an operator; one newer than this list is Op_<number>."""
    return _OPERATORS.get(number, f"Op_{number}")


def dtype_name(number: int) -> str:
    """Return numpy's name of an element type; one newer than this list is type_<number>."""
    return _DTYPES.get(number, f"type_{number}")


def source_name(number: int) -> str:
    """Return the framework that a model came from, "" when this list does not know it."""
    return _SOURCES.get(number, "")
