// Convolutions with bias and ReLU, and products, of oneDNN with weights laid out beforehand, for
// which tch has no bindings.
//
// They are looked up by name when they are called, in libtorch's own table of operations, as
// TorchScript and torch.compile do. A libtorch without oneDNN does not have them.

#include <ATen/ATen.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/LegacyTypeDispatch.h>

#include <cstring>
#include <exception>
#include <optional>
#include <string>
#include <vector>

namespace {

using Stack = torch::jit::Stack;

std::optional<c10::OperatorHandle> find(const char *name) {
    return c10::Dispatcher::singleton().findSchema({name, ""});
}

// What `give` gives. Null if it failed, with the reason in `error`.
template <typename Give> at::Tensor *given(Give give, char **error) {
    try {
        at::AutoDispatchBelowAutograd no_gradients;
        return new at::Tensor(give());
    } catch (const std::exception &exception) {
        *error = strdup(exception.what());
        return nullptr;
    }
}

// Calls an operation that gives one tensor.
template <typename Arguments>
at::Tensor *call(const char *name, Arguments arguments, char **error) {
    auto give = [&] {
        auto operation = find(name);
        TORCH_CHECK(operation.has_value(), "this libtorch has no ", name);
        Stack stack = arguments();
        operation->callBoxed(&stack);
        return stack.at(0).toTensor();
    };
    return given(give, error);
}

c10::List<int64_t> both(int64_t value) {
    return c10::List<int64_t>({value, value});
}

} // namespace

extern "C" {

// Has GPUs compute fp32 in fp32: libtorch lets cuDNN round what it convolves to TF32, with 10 bits of
// mantissa. Whether it is so now.
bool showtell_compute_fp32_in_full() {
    try {
        auto &context = at::globalContext();
        context.setAllowTF32CuDNN(false);
        context.setAllowTF32CuBLAS(false);
        return !context.allowTF32CuDNN(at::Float32Op::CONV) && !context.allowTF32CuBLAS();
    } catch (const std::exception &) {
        return false;
    }
}

// Whether what follows can be called.
bool showtell_has_prepared_operations() {
    try {
        return find("mkldnn::_reorder_convolution_weight").has_value() &&
               find("mkldnn::_convolution_pointwise").has_value() &&
               find("mkldnn::_reorder_linear_weight").has_value() &&
               find("mkldnn::_linear_pointwise").has_value();
    } catch (const std::exception &) {
        return false;
    }
}

// The same values in memory that a GPU fetches from by itself.
at::Tensor *showtell_pin_memory(const at::Tensor *x, char **error) {
    return given([=] { return x->pin_memory(); }, error);
}

// The weight of a 3x3 convolution with a border of one, laid out for pictures of `input_size`,
// which has four sides.
at::Tensor *showtell_prepare_convolution(const at::Tensor *weight, const int64_t *input_size,
                                         char **error) {
    auto arguments = [=]() -> Stack {
        c10::List<int64_t> size({input_size[0], input_size[1], input_size[2], input_size[3]});
        return {*weight, both(1), both(1), both(1), int64_t{1}, size};
    };
    return call("mkldnn::_reorder_convolution_weight", arguments, error);
}

// Convolution, bias and ReLU in one.
at::Tensor *showtell_convolution_relu(const at::Tensor *x, const at::Tensor *weight,
                                      const at::Tensor *bias, char **error) {
    auto arguments = [=]() -> Stack {
        return {*x, *weight, *bias, both(1), both(1), both(1), int64_t{1}, std::string("relu"),
                c10::List<std::optional<at::Scalar>>(), c10::IValue()};
    };
    return call("mkldnn::_convolution_pointwise", arguments, error);
}

// The weight of a fully connected layer, laid out for `rows` rows.
at::Tensor *showtell_prepare_linear(const at::Tensor *weight, int64_t rows, char **error) {
    auto arguments = [=]() -> Stack { return {*weight, rows}; };
    return call("mkldnn::_reorder_linear_weight", arguments, error);
}

// Product and bias in one.
at::Tensor *showtell_linear(const at::Tensor *x, const at::Tensor *weight, const at::Tensor *bias,
                            char **error) {
    auto arguments = [=]() -> Stack {
        return {*x, *weight, *bias, std::string("none"), c10::List<std::optional<at::Scalar>>(),
                c10::IValue()};
    };
    return call("mkldnn::_linear_pointwise", arguments, error);
}

} // extern "C"
