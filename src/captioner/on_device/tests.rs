//! Against the search that decides on the host, which is tested against exhaustive search.

use proptest::prelude::*;

use super::super::candidates::Search;
use super::*;

/// A language whose logits depend on the whole caption so far, through a hash.
#[derive(Clone)]
struct Toy {
    seeds: Vec<u64>,
    words: usize,
    /// Added to the logit of the end: how soon captions end.
    ends: f32,
    /// Whether some logits are minus infinity, and some rows hold what is no number.
    broken: bool,
    /// For each row of the last call: picture and caption.
    rows: Vec<(usize, Vec<i64>)>,
}

impl Toy {
    fn new(seeds: &[u64], words: usize, ends: f32, broken: bool) -> Self {
        Toy {
            seeds: seeds.to_vec(),
            words,
            ends,
            broken,
            rows: (0..seeds.len())
                .map(|picture| (picture, Vec::new()))
                .collect(),
        }
    }

    fn logits(&self, picture: usize, caption: &[i64]) -> Vec<f32> {
        let hash = |token: u64| {
            let mut hasher = blake3::Hasher::new();
            hasher.update(&self.seeds[picture].to_le_bytes());
            caption.iter().for_each(|token| {
                hasher.update(&token.to_le_bytes());
            });
            hasher.update(&token.to_le_bytes());
            let mut number = [0; 4];
            number.copy_from_slice(&hasher.finalize().as_bytes()[..4]);
            u32::from_le_bytes(number)
        };
        let mut logits: Vec<f32> = (0..self.words as u64)
            .map(|token| match hash(token) {
                number if self.broken && number % 7 == 0 => f32::NEG_INFINITY,
                number => number as f32 / u32::MAX as f32 * 6.0,
            })
            .collect();
        logits[END as usize] += self.ends;
        if self.broken && hash(u64::MAX) % 13 == 0 {
            logits[0] = f32::NAN;
        }
        logits
    }
}

impl LanguageModel for Toy {
    fn advance(&mut self, parents: &Tensor, tokens: &Tensor) -> Result<Tensor, TchError> {
        let parents = Vec::<i64>::try_from(parents)?;
        let tokens = Vec::<i64>::try_from(tokens)?;
        self.rows = parents
            .iter()
            .zip(tokens)
            .map(|(parent, token)| {
                let (picture, mut caption) = self.rows[*parent as usize].clone();
                caption.push(token);
                (picture, caption)
            })
            .collect();
        let logits: Vec<f32> = self
            .rows
            .iter()
            .flat_map(|(picture, caption)| self.logits(*picture, caption))
            .collect();
        Tensor::f_from_slice(&logits)?.f_view([self.rows.len() as i64, self.words as i64])
    }
}

fn run(search: Search, toy: &Toy, decoding: &Decoding) -> Vec<Vec<Hypothesis>> {
    let choice = Choice::among(toy.words, Device::Cpu).unwrap();
    let pictures = toy.seeds.len();
    search
        .run(toy.clone(), &choice, pictures, decoding)
        .unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn it_finds_what_the_search_on_the_host_finds(
        seeds in prop::collection::vec(any::<u64>(), 1..7),
        words in 3usize..30,
        ends in -2.0f32..6.0,
        broken in any::<bool>(),
        (beam, max_tokens) in (1usize..6, 1usize..15),
        length_penalty in prop_oneof![Just(0.0f32), 0.1f32..2.0],
    ) {
        let toy = Toy::new(&seeds, words, ends, broken);
        let decoding = Decoding { beam, max_tokens, length_penalty };
        let expected = run(Search::OnHost, &toy, &decoding);
        let found = run(Search::OnDevice, &toy, &decoding);
        for (expected, found) in expected.iter().zip(&found) {
            prop_assert_eq!(expected.len(), found.len());
            for (expected, found) in expected.iter().zip(found) {
                prop_assert_eq!(&expected.tokens, &found.tokens);
                prop_assert_eq!(
                    (expected.length, expected.finished),
                    (found.length, found.finished)
                );
                prop_assert!((expected.log_prob - found.log_prob).abs() < 1e-4);
                prop_assert!((expected.score - found.score).abs() < 1e-4);
            }
        }
    }
}

#[test]
fn pictures_whose_captions_are_decided_are_no_longer_fed() {
    /// Counts the rows that it is fed.
    struct Counting(Toy, std::rc::Rc<std::cell::RefCell<Vec<usize>>>);
    impl LanguageModel for Counting {
        fn advance(&mut self, parents: &Tensor, tokens: &Tensor) -> Result<Tensor, TchError> {
            self.1.borrow_mut().push(parents.numel());
            self.0.advance(parents, tokens)
        }
    }
    let fed = std::rc::Rc::default();
    let toy = Toy::new(&[1, 2, 3, 4, 5, 6, 7, 8], 12, 1.5, false);
    let choice = Choice::among(toy.words, Device::Cpu).unwrap();
    let decoding = Decoding {
        beam: 3,
        max_tokens: 40,
        length_penalty: 0.0,
    };
    let mut model = Counting(toy, std::rc::Rc::clone(&fed));
    let found = search(&mut model, &choice, 8, &decoding).unwrap();
    assert!(
        found
            .iter()
            .all(|found| found.len() == 3 && found[0].finished)
    );
    let fed = fed.borrow();
    assert_eq!(fed[..CHECK], [8, 24, 24, 24]);
    assert!(
        fed[CHECK..].iter().any(|fed| (1..24).contains(fed)),
        "{fed:?}"
    );
    assert!(fed.len() < 40, "{fed:?}");
}
