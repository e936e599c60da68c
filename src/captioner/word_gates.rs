//! Words -> what they give the gates of an LSTM, computed when a word is first said.
//!
//! That product is the same whenever a word is said, and a model that was trained says few of the words
//! that it knows.

use std::collections::HashMap;

use tch::{Kind, TchError, Tensor};

use super::candidates::column;

/// What is kept may take so much, in bytes; the words that are said often are far fewer.
const ROOM: usize = 64 << 20;

/// See the [module](self).
pub struct WordGates {
    /// `[words, embedding]`
    embedding: Tensor,
    /// `[4 * hidden, embedding]`
    weight: Tensor,
    /// Where in `kept` the gates of a word are.
    places: HashMap<i64, i64>,
    /// `[room, 4 * hidden]`, of which as many rows are filled as there are places.
    kept: Tensor,
    /// Words that may be kept.
    most: usize,
}

impl WordGates {
    /// `embedding`: `[words, embedding]`; `weight`: `[4 * hidden, embedding]`, the LSTM's.
    ///
    /// # Errors
    ///
    /// When the device has no room.
    pub fn new(embedding: Tensor, weight: Tensor) -> Result<Self, TchError> {
        Self::with_room(embedding, weight, ROOM)
    }

    fn with_room(embedding: Tensor, weight: Tensor, room: usize) -> Result<Self, TchError> {
        let width = weight.size()[0];
        let kept = Tensor::f_zeros([0, width], (Kind::Float, weight.device()))?;
        Ok(WordGates {
            most: room / (width as usize * size_of::<f32>()),
            embedding,
            weight,
            places: HashMap::new(),
            kept,
        })
    }

    /// `[tokens, 4 * hidden]`, without bias. `tokens`: `[tokens]`, i64; which they are is looked at, so they are best
    /// on the CPU.
    ///
    /// # Errors
    ///
    /// When the device fails.
    pub fn of(&mut self, tokens: &Tensor) -> Result<Tensor, TchError> {
        let said = Vec::<i64>::try_from(tokens)?;
        let mut different = said.clone();
        different.sort_unstable();
        different.dedup();
        let is_new = |token: &&i64| !self.places.contains_key(token);
        let mut new: Vec<i64> = different.iter().filter(is_new).copied().collect();
        if self.places.len() + new.len() > self.most {
            // Begins anew with the words of this step. Without room for them, nothing is kept.
            self.places.clear();
            if different.len() > self.most {
                return self.compute(tokens);
            }
            new = different;
        }
        if !new.is_empty() {
            self.keep(&new)?;
        }
        let places = said.iter().map(|token| self.places[token]);
        self.kept
            .f_index_select(0, &column(places, self.weight.device())?)
    }

    /// The same; nothing is looked at, nothing kept.
    ///
    /// # Errors
    ///
    /// When the device fails.
    pub fn compute(&self, tokens: &Tensor) -> Result<Tensor, TchError> {
        let words = self.embedding.f_index_select(0, tokens)?;
        words.f_linear(&self.weight, None::<&Tensor>)
    }

    fn keep(&mut self, new: &[i64]) -> Result<(), TchError> {
        let tokens = column(new.iter().copied(), self.weight.device())?;
        let computed = self.compute(&tokens)?;
        let (filled, count) = (self.places.len() as i64, new.len() as i64);
        let room = self.kept.size()[0];
        if filled + count > room {
            let room = (2 * room).max(filled + count);
            let width = self.weight.size()[0];
            let larger = Tensor::f_zeros([room, width], (Kind::Float, self.weight.device()))?;
            larger
                .f_narrow(0, 0, filled)?
                .f_copy_(&self.kept.f_narrow(0, 0, filled)?)?;
            self.kept = larger;
        }
        self.kept.f_narrow(0, filled, count)?.f_copy_(&computed)?;
        self.places.extend(new.iter().copied().zip(filled..));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    /// Words 0 to 9 whose gates are two and three times their number.
    fn gates(room: usize) -> WordGates {
        let embedding = Tensor::arange(10, (Kind::Float, Device::Cpu)).view([10, 1]);
        let weight = Tensor::from_slice(&[2.0f32, 3.0]).view([2, 1]);
        WordGates::with_room(embedding, weight, room * 2 * size_of::<f32>()).unwrap()
    }

    #[test]
    fn every_word_gets_its_gates_however_few_are_kept() {
        for room in 0..12 {
            let mut gates = gates(room);
            for tokens in [
                &[3i64][..],
                &[3, 4, 3],
                &[9, 0, 1, 2, 3],
                &[5],
                &[4, 4, 7],
                &[0, 8],
            ] {
                let found =
                    Vec::<Vec<f32>>::try_from(&gates.of(&Tensor::from_slice(tokens)).unwrap())
                        .unwrap();
                let expected = tokens.iter().map(|token| {
                    vec![2.0, 3.0]
                        .into_iter()
                        .map(|factor| factor * *token as f32)
                        .collect::<Vec<f32>>()
                });
                assert_eq!(found, expected.collect::<Vec<_>>(), "room for {room}");
                assert!(gates.places.len() <= room);
            }
        }
    }
}
