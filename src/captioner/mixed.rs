//! Products of f32 values with weights that are held in f32, or in bfloat16 while a captioner learns in
//! mixed precision.
//!
//! The type of a weight decides in which a product is computed. What goes in and what comes out is f32
//! either way, and so are biases, states and whatever else is no product; gradients flow back through the
//! changes of type.

use tch::{Kind, Tensor};

/// x Wᵀ + b, f32. `x`: `[..., inputs]`; `weight`: `[outputs, inputs]`; `bias`: f32, of a shape that can be
/// added, `[outputs]` if the weight is f32.
///
/// # Errors
///
/// When shapes do not fit or the device fails.
pub fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor, tch::TchError> {
    if weight.kind() == Kind::Float {
        return x.f_linear(weight, bias);
    }
    let none: Option<&Tensor> = None;
    let product = x.f_to_kind(weight.kind())?.f_linear(weight, none)?;
    match bias {
        // A sum of both types is f32, so the bias is not rounded, and no value is visited twice.
        Some(bias) => product.f_add(bias),
        None => product.f_to_kind(Kind::Float),
    }
}

/// The new hidden and cell state of an LSTM, each `[rows, hidden]`, f32.
///
/// `input`: `[rows, inputs]`; `state`: the old ones; `weights`: `weight_ih`, `weight_hh`, `bias_ih`,
/// `bias_hh`, their gates in the order input, forget, cell, output.
///
/// # Errors
///
/// When shapes do not fit or the device fails.
pub fn lstm_step(
    input: &Tensor,
    state: &[Tensor; 2],
    weights: [&Tensor; 4],
) -> Result<[Tensor; 2], tch::TchError> {
    let [w_ih, w_hh, b_ih, b_hh] = weights;
    let [hidden, cell] = state;
    if w_hh.kind() == Kind::Float {
        let (hidden, cell) =
            input.f_lstm_cell(&[hidden, cell], w_ih, w_hh, Some(b_ih), Some(b_hh))?;
        return Ok([hidden, cell]);
    }
    let from_input = linear(input, w_ih, Some(&b_ih.f_add(b_hh)?))?;
    lstm_from_gates(&linear(hidden, w_hh, Some(&from_input))?, cell)
}

/// The new hidden and cell state from what the gates were given, `[rows, 4 * hidden]`, and the old cell
/// state.
///
/// # Errors
///
/// When shapes do not fit or the device fails.
pub fn lstm_from_gates(gates: &Tensor, cell: &Tensor) -> Result<[Tensor; 2], tch::TchError> {
    let gates = gates.f_chunk(4, 1)?;
    let [input, forget, new, output] = &gates[..] else {
        return Err(tch::TchError::Shape(format!("{} gates", gates.len())));
    };
    let new = input.f_sigmoid()?.f_mul(&new.f_tanh()?)?;
    let cell = forget.f_sigmoid()?.f_mul(cell)?.f_add(&new)?;
    let hidden = output.f_sigmoid()?.f_mul(&cell.f_tanh()?)?;
    Ok([hidden, cell])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seeded::seeded;
    use tch::Device;

    const FLOAT: (Kind, Device) = (Kind::Float, Device::Cpu);

    fn weights(inputs: i64, hidden: i64) -> [Tensor; 4] {
        let shapes = [
            vec![4 * hidden, inputs],
            vec![4 * hidden, hidden],
            vec![4 * hidden],
            vec![4 * hidden],
        ];
        shapes.map(|shape| (Tensor::randn(shape, FLOAT) * 0.5).set_requires_grad(true))
    }

    fn largest(x: &Tensor) -> f64 {
        x.abs().max().double_value(&[])
    }

    /// What a step of an LSTM gives, and the gradients of its first weight and first bias.
    fn step(input: &Tensor, state: &[Tensor; 2], weights: &[Tensor; 4], kind: Kind) -> [Tensor; 4] {
        let [w_ih, w_hh, b_ih, b_hh] = weights;
        let (held_ih, held_hh) = (w_ih.to_kind(kind), w_hh.to_kind(kind));
        let [hidden, cell] = lstm_step(input, state, [&held_ih, &held_hh, b_ih, b_hh]).unwrap();
        let loss = (&hidden * &cell).sum(Kind::Float);
        let gradients = Tensor::run_backward(&[loss], &[w_ih, b_ih], false, false);
        let [of_weight, of_bias] = <[Tensor; 2]>::try_from(gradients).unwrap();
        [hidden, cell, of_weight, of_bias]
    }

    #[test]
    fn a_step_in_bfloat16_is_that_in_f32_but_for_its_rounding() {
        let _alone = seeded(3);
        let weights = weights(6, 8);
        let input = Tensor::randn([5, 6], FLOAT);
        let state = [Tensor::randn([5, 8], FLOAT), Tensor::randn([5, 8], FLOAT)];
        let exact = step(&input, &state, &weights, Kind::Float);
        let rounded = step(&input, &state, &weights, Kind::BFloat16);
        for (exact, rounded) in exact.iter().zip(&rounded) {
            assert_eq!(rounded.kind(), Kind::Float);
            let difference = largest(&(exact - rounded));
            let allowed = 0.03 * largest(exact);
            assert!(difference < allowed, "{difference}, {allowed}");
            assert!(difference > 0.0, "nothing was rounded");
        }
    }

    #[test]
    fn biases_are_not_rounded() {
        let weight = Tensor::zeros([2, 3], (Kind::BFloat16, Device::Cpu));
        let bias = Tensor::from_slice(&[-10.017f32, 7.333]);
        let x = Tensor::ones([4, 3], FLOAT);
        let found = linear(&x, &weight, Some(&bias)).unwrap();
        assert!(found.get(0) == bias && found.kind() == Kind::Float);
    }
}
