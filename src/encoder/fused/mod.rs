//! Layers whose weights are laid out once, as oneDNN likes them best: convolution, bias and ReLU in
//! one operation, of cuDNN's on a GPU, and products.
//!
//! tch does not bind these, and libtorch offers them to TorchScript and torch.compile alone, by name;
//! so operations.cpp calls them by name. Where they are missing, or refuse what is asked of them, the
//! ordinary operations compute the same values: nothing depends on this but time.

use std::ffi::{CStr, c_char, c_void};

use tch::{Device, Kind, TchError, Tensor};
use torch_sys::C_tensor;

use super::weights;

unsafe extern "C" {
    fn showtell_compute_fp32_in_full() -> bool;
    fn showtell_has_prepared_operations() -> bool;
    fn showtell_prepare_convolution(
        weight: *const C_tensor,
        input_size: *const i64,
        error: *mut *mut c_char,
    ) -> *mut C_tensor;
    fn showtell_convolution_relu(
        x: *const C_tensor,
        weight: *const C_tensor,
        bias: *const C_tensor,
        error: *mut *mut c_char,
    ) -> *mut C_tensor;
    fn showtell_prepare_linear(
        weight: *const C_tensor,
        rows: i64,
        error: *mut *mut c_char,
    ) -> *mut C_tensor;
    fn showtell_linear(
        x: *const C_tensor,
        weight: *const C_tensor,
        bias: *const C_tensor,
        error: *mut *mut c_char,
    ) -> *mut C_tensor;
    fn showtell_pin_memory(x: *const C_tensor, error: *mut *mut c_char) -> *mut C_tensor;
    fn showtell_keep_buffers(room: usize);
    fn free(pointer: *mut c_void);
}

/// Bytes of buffers that are kept for each thread: the maps of all layers that the full-size VGG-16
/// makes of a picture in fp32.
const BUFFERS: usize = 64 << 20;

/// Keeps the buffers of tensors on the CPU for the next tensors, see buffers.cpp. To be called by
/// whatever is about to compute there; only the first call counts.
pub fn keep_buffers() {
    let threads = usize::try_from(tch::get_num_threads()).unwrap_or(1);
    // SAFETY: what was allocated before is still freed as it has to be.
    unsafe { showtell_keep_buffers(BUFFERS * threads.clamp(1, 16)) }
}

/// Has GPUs compute fp32 in fp32, without TF32, which is what convolutions would be rounded to. Returns whether
/// they do.
pub fn compute_fp32_in_full() -> bool {
    // SAFETY: it sets options of libtorch.
    unsafe { showtell_compute_fp32_in_full() }
}

/// The same values where a GPU fetches them by itself. tch names the device, of which libtorch would warn on
/// standard error.
///
/// # Errors
///
/// When there is no GPU, or no room.
pub fn pin_memory(x: &Tensor) -> Result<Tensor, TchError> {
    let mut error = std::ptr::null_mut();
    // SAFETY: a live tensor.
    unsafe {
        let pinned = showtell_pin_memory(x.as_ptr(), &mut error);
        take(pinned, error)
    }
}

/// Takes what a function of operations.cpp returned.
///
/// # Safety
///
/// `tensor` must be null or belong to the caller; `error` must be null or come from `strdup`.
unsafe fn take(tensor: *mut C_tensor, error: *mut c_char) -> Result<Tensor, TchError> {
    if !tensor.is_null() {
        // SAFETY: operations.cpp gives it away.
        return Ok(unsafe { Tensor::from_ptr(tensor) });
    }
    if error.is_null() {
        return Err(TchError::Torch(
            "an operation failed without a reason".to_owned(),
        ));
    }
    // SAFETY: a string of C that is ours to free.
    let reason = unsafe {
        let reason = CStr::from_ptr(error).to_string_lossy().into_owned();
        free(error.cast());
        reason
    };
    Err(TchError::Torch(reason))
}

/// A 3×3 convolution with a border of one, its bias, and a ReLU.
pub struct ConvolutionRelu {
    weight: Tensor,
    bias: Tensor,
    how: How,
}

/// Who puts the three together.
#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    /// Nobody: one after another.
    Apart,
    OneDnn,
    CuDnn,
}

impl ConvolutionRelu {
    /// `weight`: `[outputs, inputs, 3, 3]`, `bias`: `[outputs]`, laid out for maps that are `side`
    /// high and wide and come `batch` at a time; others may come too, and take longer.
    ///
    /// # Errors
    ///
    /// When there is no room.
    pub fn new(weight: &Tensor, bias: Tensor, side: i64, batch: i64) -> Result<Self, TchError> {
        let plain = ConvolutionRelu {
            weight: channels_last(weight)?,
            bias,
            how: How::Apart,
        };
        let fused = match plain.weight.device() {
            Device::Cpu if !is_possible(&plain.weight) => return Ok(plain),
            Device::Cpu => plain.by_onednn(side, batch),
            _ => Ok(plain.by(How::CuDnn, &plain.weight)),
        };
        Ok(fused
            .and_then(|fused| fused.tried_out(&plain))
            .unwrap_or_else(|error| {
                let reason = weights::first_line(&error);
                tracing::debug!(
                    reason,
                    "no fused convolutions here; computing in single steps"
                );
                plain
            }))
    }

    fn by(&self, how: How, weight: &Tensor) -> Self {
        ConvolutionRelu {
            weight: weight.shallow_clone(),
            bias: self.bias.shallow_clone(),
            how,
        }
    }

    /// The same layer with its weight as oneDNN wants it.
    fn by_onednn(&self, side: i64, batch: i64) -> Result<Self, TchError> {
        let size = [batch, self.weight.size()[1], side, side];
        let mut error = std::ptr::null_mut();
        // SAFETY: a live tensor, and four sides.
        let weight = unsafe {
            let weight =
                showtell_prepare_convolution(self.weight.as_ptr(), size.as_ptr(), &mut error);
            take(weight, error)?
        };
        Ok(self.by(How::OneDnn, &weight))
    }

    /// The layer, after it has computed a small map as `plain` does.
    fn tried_out(self, plain: &Self) -> Result<Self, TchError> {
        let size = [1, self.weight.size()[1], 4, 4];
        let count: i64 = size.iter().product();
        // Not random: what others draw stays as it is.
        let x = Tensor::f_arange(count, (Kind::Float, self.bias.device()))?.f_sin()?;
        let x = channels_last(&x.f_view(size)?.f_to_kind(self.bias.kind())?)?;
        let (found, expected) = (self.apply(&x)?, plain.apply(&x)?);
        let differ = found
            .f_sub(&expected)?
            .f_abs()?
            .f_max()?
            .f_double_value(&[])?;
        let largest = expected.f_abs()?.f_max()?.f_double_value(&[])?;
        // Of bfloat16, a sum of many rounded products.
        if differ.is_nan() || differ > 0.03 * largest.max(1e-3) {
            let reason = format!("it gives other values, which differ by {differ} of {largest}");
            return Err(TchError::Torch(reason));
        }
        Ok(self)
    }

    /// `x`: `[batch, inputs, height, width]`, channels innermost in memory. Returns `[batch, outputs,
    /// height, width]`, laid out alike.
    ///
    /// # Errors
    ///
    /// When the device fails.
    pub fn apply(&self, x: &Tensor) -> Result<Tensor, TchError> {
        let (weight, bias) = (&self.weight, Some(&self.bias));
        let one = [1, 1];
        match self.how {
            How::Apart => x.f_conv2d(weight, bias, one, one, one, 1)?.f_relu_(),
            How::CuDnn => x.f_cudnn_convolution_relu(weight, bias, one, one, one, 1),
            How::OneDnn => {
                let mut error = std::ptr::null_mut();
                // SAFETY: live tensors.
                unsafe {
                    let (weight, bias) = (weight.as_ptr(), self.bias.as_ptr());
                    let result = showtell_convolution_relu(x.as_ptr(), weight, bias, &mut error);
                    take(result, error)
                }
            }
        }
    }
}

/// oneDNN gets multiples of so many rows. It keeps what it has made for each number of rows that it met,
/// some 10 KB, and the rows of a beam search come in all numbers: for hundreds of them it would lie
/// scattered over the heap.
const WHOLE_ROWS: i64 = 16;

/// A fully connected layer, in whichever type its weights have.
pub struct Linear {
    weight: Tensor,
    bias: Tensor,
    prepared: bool,
}

impl Linear {
    /// `weight`: `[outputs, inputs]`, `bias`: `[outputs]`, laid out for `rows` rows at a time; any
    /// number may come.
    ///
    /// # Errors
    ///
    /// When there is no room.
    pub fn new(weight: Tensor, bias: Tensor, rows: i64) -> Result<Self, TchError> {
        let plain = Linear {
            weight,
            bias,
            prepared: false,
        };
        if !is_possible(&plain.weight) {
            return Ok(plain);
        }
        Ok(plain.prepared(rows).unwrap_or_else(|error| {
            note_refusal(&error);
            plain
        }))
    }

    /// The same layer with its weight laid out anew, tried out.
    fn prepared(&self, rows: i64) -> Result<Self, TchError> {
        let mut error = std::ptr::null_mut();
        // SAFETY: a live tensor.
        let weight = unsafe {
            let weight = showtell_prepare_linear(self.weight.as_ptr(), rows, &mut error);
            take(weight, error)?
        };
        let prepared = Linear {
            weight,
            bias: self.bias.shallow_clone(),
            prepared: true,
        };
        let inputs = self.weight.size()[1];
        let zeros = Tensor::f_zeros([1, inputs], (self.bias.kind(), Device::Cpu))?;
        let _ = prepared.apply(&zeros)?;
        Ok(prepared)
    }

    /// `x`: `[rows, inputs]`. Returns `[rows, outputs]`.
    ///
    /// # Errors
    ///
    /// When the device fails.
    pub fn apply(&self, x: &Tensor) -> Result<Tensor, TchError> {
        if !self.prepared {
            return x.f_linear(&self.weight, Some(&self.bias));
        }
        let rows = x.size()[0];
        let x = match (-rows).rem_euclid(WHOLE_ROWS) {
            0 => x.shallow_clone(),
            missing => x.f_constant_pad_nd([0, 0, 0, missing])?,
        };
        let mut error = std::ptr::null_mut();
        // SAFETY: live tensors.
        let padded = unsafe {
            let (weight, bias) = (self.weight.as_ptr(), self.bias.as_ptr());
            let result = showtell_linear(x.as_ptr(), weight, bias, &mut error);
            take(result, error)?
        };
        padded.f_narrow(0, 0, rows)
    }
}

fn is_possible(weight: &Tensor) -> bool {
    // SAFETY: it only looks.
    weight.device() == Device::Cpu && unsafe { showtell_has_prepared_operations() }
}

fn note_refusal(error: &TchError) {
    let reason = weights::first_line(error);
    tracing::debug!(
        reason,
        "oneDNN refuses prepared weights; computing as libtorch does"
    );
}

/// The same values, laid out with the channels innermost, as oneDNN and cuDNN like them best:
/// measured at 8.7 against 6.2 images per second in fp32, and 31 against 11 in bf16, on a 2-core
/// x86-64 machine.
pub fn channels_last(tensor: &Tensor) -> Result<Tensor, TchError> {
    tensor
        .f_permute([0, 2, 3, 1])?
        .f_contiguous()?
        .f_permute([0, 3, 1, 2])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seeded::seeded;

    #[test]
    fn memory_is_pinned_for_a_gpu_or_it_is_told_that_there_is_none() {
        let x = Tensor::from_slice(&[1u8, 2, 3]);
        match pin_memory(&x) {
            Ok(pinned) => assert_eq!(pinned, x),
            Err(error) => assert!(error.to_string().contains("accelerator"), "{error}"),
        }
    }

    #[test]
    fn fp32_is_not_rounded_to_tf32() {
        assert!(compute_fp32_in_full());
    }

    #[test]
    fn fused_convolutions_give_what_single_steps_give_or_are_not_used() {
        let _alone = seeded(6);
        for kind in [Kind::Float, Kind::BFloat16] {
            let random =
                |size: &[i64]| Tensor::randn(size, (Kind::Float, Device::Cpu)).to_kind(kind) * 0.1;
            let (weight, bias) = (random(&[8, 16, 3, 3]), random(&[8]));
            let plain = ConvolutionRelu {
                weight: channels_last(&weight).unwrap(),
                bias: bias.shallow_clone(),
                how: How::Apart,
            };
            let fused = ConvolutionRelu::new(&weight, bias, 12, 2).unwrap();
            assert!(fused.tried_out(&plain).is_ok());
            let other = plain.by(How::Apart, &(&plain.weight * 1.1));
            let error = other.tried_out(&plain).err().unwrap().to_string();
            assert!(error.contains("other values"), "{error}");
        }
    }

    #[test]
    fn any_number_of_rows_gives_what_libtorch_gives() {
        let _alone = seeded(7);
        let random = |size: &[i64]| Tensor::randn(size, (Kind::Float, Device::Cpu));
        let (weight, bias) = (random(&[24, 20]), random(&[24]));
        let layer = Linear::new(weight.shallow_clone(), bias.shallow_clone(), 64).unwrap();
        let all = random(&[50, 20]);
        let expected = all.linear(&weight, Some(&bias));
        for rows in [1, 15, 16, 17, 50] {
            let found = layer.apply(&all.narrow(0, 0, rows)).unwrap();
            assert_eq!(found.size(), [rows, 24]);
            assert!(found.allclose(&expected.narrow(0, 0, rows), 1e-4, 1e-4, false));
        }
    }
}
