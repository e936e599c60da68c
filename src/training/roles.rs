//! Tells from the features what the main object of a scene is and what the second: a loss for
//! scenes, whose truth knows both.
//!
//! Captions name the second object now and then, and mostly behind the main one, so that fc7 learns
//! slowly whose colour is whose. Here it is asked outright.

use tch::nn::Path as Variables;
use tch::{Reduction, Tensor};

use super::question::{Question, SKIPPED};
use crate::scenes::{Colour, Kind, ObjectTruth};

/// What the objects of a scene are: kind and colour of the main one, kind and colour of the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cast([i64; 4]);

impl Cast {
    /// `objects`: the main one first. Without a second one its kind is "none" and its colour is not
    /// asked.
    pub fn new(objects: &[ObjectTruth]) -> Self {
        let of = |role: usize, absent: i64| match objects.get(role) {
            Some(object) => [object.kind as i64, object.colour as i64],
            None => [absent, SKIPPED],
        };
        let [[kind, colour], [other_kind, other_colour]] =
            [of(0, SKIPPED), of(1, Kind::ALL.len() as i64)];
        Cast([kind, colour, other_kind, other_colour])
    }
}

/// Kind and colour of the main object, kind and colour of the second.
pub struct Roles([Question; 4]);

impl Roles {
    /// # Errors
    ///
    /// When the device has no room.
    pub fn new(variables: &Variables, features: i64) -> Result<Self, tch::TchError> {
        let ask = |name: &str, answers: usize| {
            Question::of_vectors(&(variables / name), answers, features)
        };
        Ok(Roles([
            ask("main_kind", Kind::ALL.len())?,
            ask("main_colour", Colour::ALL.len())?,
            ask("second_kind", Kind::ALL.len() + 1)?,
            ask("second_colour", Colour::ALL.len())?,
        ]))
    }

    /// Sum of the four cross-entropies, in nats, averaged over the pictures.
    ///
    /// `features`: `[pictures, features]`, f32; `casts`: one of each picture.
    ///
    /// # Errors
    ///
    /// When the device fails.
    pub fn loss(&self, features: &Tensor, casts: &[Cast]) -> Result<Tensor, tch::TchError> {
        let mut sum = Tensor::f_zeros([], (tch::Kind::Float, features.device()))?;
        for (place, question) in self.0.iter().enumerate() {
            let right: Vec<i64> = casts.iter().map(|cast| cast.0[place]).collect();
            // The mean over all pictures: one that is not asked counts as answered.
            let loss = question.loss(features, &right, Reduction::Sum)?;
            sum = sum.f_add(&loss.f_div_scalar(casts.len().max(1) as i64)?)?;
        }
        Ok(sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenes::Size;
    use crate::seeded::seeded;

    fn object(kind: Kind, colour: Colour) -> ObjectTruth {
        ObjectTruth {
            kind,
            colour,
            count: 1,
            size: Size::Small,
            boxes: vec![[0, 0, 10, 10]],
        }
    }

    #[test]
    fn a_scene_without_a_second_object_asks_for_none_and_for_no_colour_of_it() {
        let alone = Cast::new(&[object(Kind::House, Colour::Green)]);
        assert_eq!(alone.0[2..], [Kind::ALL.len() as i64, SKIPPED]);
        let both = [
            object(Kind::House, Colour::Green),
            object(Kind::Kite, Colour::Red),
        ];
        assert_eq!(
            Cast::new(&both).0,
            [
                Kind::House as i64,
                Colour::Green as i64,
                Kind::Kite as i64,
                Colour::Red as i64
            ]
        );
    }

    #[test]
    fn the_loss_falls_to_nothing_when_the_features_tell_the_roles() {
        let _alone = seeded(1);
        let variables = tch::nn::VarStore::new(tch::Device::Cpu);
        let roles = Roles::new(&variables.root(), 2).unwrap();
        let casts = [
            Cast::new(&[object(Kind::House, Colour::Green)]),
            Cast::new(&[
                object(Kind::Kite, Colour::Red),
                object(Kind::House, Colour::Blue),
            ]),
        ];
        let features = Tensor::from_slice2(&[[1.0f32, 0.0], [0.0, 1.0]]);
        use tch::nn::OptimizerConfig;
        let mut adam = tch::nn::Adam::default().build(&variables, 0.5).unwrap();
        let first = roles.loss(&features, &casts).unwrap().double_value(&[]);
        for _ in 0..50 {
            adam.backward_step(&roles.loss(&features, &casts).unwrap());
        }
        let last = roles.loss(&features, &casts).unwrap().double_value(&[]);
        assert!(first > 3.0 && last < 0.01, "{first} {last}");
    }
}
