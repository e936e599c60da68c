//! In which order the captions of a data set are learnt from: a function of seed and epoch.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

/// Batches whose captions are sorted together where those of a batch shall be of like length.
const POOL: usize = 50;

/// An image and some of its captions, by their numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sight {
    pub image: usize,
    pub captions: Vec<usize>,
}

/// How batches are made up.
#[derive(Debug, Clone)]
pub struct Order {
    pub seed: i64,
    /// Sights in a batch; the last of an epoch may have fewer.
    pub batch: usize,
    /// Of one image at a sight; `None` is a sight for each caption.
    pub captions_per_image: Option<usize>,
    pub like_length: bool,
}

impl Order {
    /// Batches in an epoch. `lengths`: words of each caption of each image.
    pub fn batches(&self, lengths: &[Vec<usize>]) -> u64 {
        let sights = match self.captions_per_image {
            Some(_) => lengths.len(),
            None => lengths.iter().map(Vec::len).sum(),
        };
        sights.div_ceil(self.batch.max(1)) as u64
    }

    /// The batches of an epoch, counted from 0.
    pub fn of_epoch(&self, lengths: &[Vec<usize>], epoch: u64) -> Vec<Vec<Sight>> {
        let mut dice = ChaCha8Rng::from_seed(seed(self.seed, "order", &[epoch]));
        let mut sights = Vec::new();
        for (image, captions) in lengths.iter().enumerate() {
            match self.captions_per_image {
                None => sights.extend((0..captions.len()).map(|caption| Sight {
                    image,
                    captions: vec![caption],
                })),
                Some(wanted) => {
                    // The next ones in each epoch, so that all are met equally often.
                    let all = captions.len().max(1);
                    let first = (epoch as usize).wrapping_mul(wanted) % all;
                    let next = (0..wanted.min(all)).map(|place| (first + place) % all);
                    sights.push(Sight {
                        image,
                        captions: next.collect(),
                    });
                }
            }
        }
        sights.shuffle(&mut dice);
        if self.like_length {
            let longest = |sight: &Sight| {
                let lengths = sight.captions.iter().map(|c| lengths[sight.image][*c]);
                lengths.max().unwrap_or(0)
            };
            for pool in sights.chunks_mut(self.batch.max(1) * POOL) {
                pool.sort_by_key(longest);
            }
        }
        let batches = sights.chunks(self.batch.max(1)).map(<[Sight]>::to_vec);
        let mut batches: Vec<_> = batches.collect();
        if self.like_length {
            batches.shuffle(&mut dice);
        }
        batches
    }
}

/// A seed for one purpose of a training.
pub fn seed(seed: i64, purpose: &str, numbers: &[u64]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key(purpose);
    hasher.update(&seed.to_le_bytes());
    for number in numbers {
        hasher.update(&number.to_le_bytes());
    }
    *hasher.finalize().as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order() -> Order {
        Order {
            seed: 3,
            batch: 4,
            captions_per_image: None,
            like_length: false,
        }
    }

    fn lengths() -> Vec<Vec<usize>> {
        (0..10).map(|image| vec![5 + image % 3, 9, 7]).collect()
    }

    #[test]
    fn an_epoch_meets_each_caption_once_and_another_epoch_in_another_order() {
        let lengths = lengths();
        let batches = order().of_epoch(&lengths, 0);
        assert_eq!(batches.len() as u64, order().batches(&lengths));
        assert_eq!(batches.len(), 8);
        assert_eq!(batches[7].len(), 2);
        let mut met: Vec<_> = batches
            .concat()
            .iter()
            .map(|s| (s.image, s.captions[0]))
            .collect();
        met.sort_unstable();
        met.dedup();
        assert_eq!(met.len(), 30);
        assert_eq!(batches, order().of_epoch(&lengths, 0));
        assert_ne!(batches, order().of_epoch(&lengths, 1));
    }

    #[test]
    fn batches_of_like_length_differ_by_little() {
        let mut order = order();
        order.like_length = true;
        let lengths = lengths();
        for batch in order.of_epoch(&lengths, 2) {
            let of: Vec<_> = batch
                .iter()
                .map(|s| lengths[s.image][s.captions[0]])
                .collect();
            let spread = of.iter().max().unwrap() - of.iter().min().unwrap();
            assert!(spread <= 2, "{of:?}");
        }
    }

    #[test]
    fn images_take_turns_with_their_captions() {
        let mut order = order();
        order.captions_per_image = Some(2);
        let lengths = lengths();
        assert_eq!(order.batches(&lengths), 3);
        let of = |epoch| {
            let batches = order.of_epoch(&lengths, epoch).concat();
            batches.into_iter().find(|s| s.image == 4).unwrap().captions
        };
        assert_eq!((of(0), of(1), of(2)), (vec![0, 1], vec![2, 0], vec![1, 2]));
    }
}
