//! The search against exhaustive search over a toy language.

use proptest::prelude::*;

use super::*;

/// Words beside end: tokens 2 and up. The probability of the next token depends on the whole
/// caption so far, through a hash, so that no step can be told from another by accident.
#[derive(Clone)]
struct Toy {
    seeds: Vec<u64>,
    tokens: u32,
    /// For each row of the last call: picture and caption.
    rows: Vec<(usize, Vec<TokenId>)>,
    calls: usize,
}

impl Toy {
    fn new(seeds: &[u64], tokens: u32) -> Self {
        let rows = (0..seeds.len())
            .map(|picture| (picture, Vec::new()))
            .collect();
        Toy {
            seeds: seeds.to_vec(),
            tokens,
            rows,
            calls: 0,
        }
    }

    /// Log-probabilities of end and of each word after `caption`.
    fn next(&self, picture: usize, caption: &[TokenId]) -> Vec<Candidate> {
        let weight = |token: TokenId| {
            let mut hasher = blake3::Hasher::new();
            hasher.update(&self.seeds[picture].to_le_bytes());
            caption.iter().chain([&token]).for_each(|token| {
                hasher.update(&token.to_le_bytes());
            });
            f64::from(hasher.finalize().as_bytes()[0]) / 40.0
        };
        let tokens: Vec<TokenId> = (1..=self.tokens).collect();
        let total: f64 = tokens.iter().map(|token| weight(*token).exp()).sum();
        tokens
            .into_iter()
            .map(|token| Candidate {
                token,
                log_prob: (weight(token) - total.ln()) as f32,
            })
            .collect()
    }
}

impl Step for Toy {
    type Error = std::convert::Infallible;

    fn advance(&mut self, rows: &[Extend], top: usize) -> Result<Vec<Vec<Candidate>>, Self::Error> {
        self.calls += 1;
        self.rows = rows
            .iter()
            .map(|extend| {
                let (picture, mut caption) = self.rows[extend.row].clone();
                if extend.token != START {
                    caption.push(extend.token);
                }
                (picture, caption)
            })
            .collect();
        let best = |(picture, caption): &(usize, Vec<TokenId>)| {
            let mut next = self.next(*picture, caption);
            next.sort_by(|a, b| b.log_prob.total_cmp(&a.log_prob));
            next.truncate(top);
            next
        };
        Ok(self.rows.iter().map(best).collect())
    }
}

/// Every caption of at most `max_tokens` tokens that ends, best first.
fn exhaustive(toy: &Toy, picture: usize, decoding: &Decoding) -> Vec<Hypothesis> {
    let mut finished = Vec::new();
    let mut open = vec![(Vec::new(), 0.0f32)];
    for length in 1..=decoding.max_tokens {
        let mut longer = Vec::new();
        for (caption, log_prob) in &open {
            for candidate in toy.next(picture, caption) {
                let log_prob = log_prob + candidate.log_prob;
                if candidate.token != END {
                    let mut caption: Vec<TokenId> = caption.clone();
                    caption.push(candidate.token);
                    longer.push((caption, log_prob));
                } else if length > 1 {
                    finished.push(hypothesis(
                        caption.clone(),
                        log_prob,
                        length,
                        true,
                        decoding,
                    ));
                }
            }
        }
        open = longer;
    }
    keep_best(&mut finished, usize::MAX);
    finished
}

fn run(toy: &Toy, decoding: &Decoding) -> Vec<Vec<Hypothesis>> {
    match search(&mut toy.clone(), toy.seeds.len(), decoding) {
        Ok(found) => found,
    }
}

fn decodings() -> impl Strategy<Value = Decoding> {
    (1usize..6, 1usize..7, prop_oneof![Just(0.0f32), 0.1f32..2.0]).prop_map(
        |(beam, max_tokens, length_penalty)| Decoding {
            beam,
            max_tokens,
            length_penalty,
        },
    )
}

proptest! {
    #[test]
    fn a_wide_beam_finds_what_exhaustive_search_finds(seed: u64, length_penalty in 0.0f32..2.0) {
        // Three tokens and at most four of them: 2 ^ 4 open captions at the most.
        let decoding = Decoding { beam: 16, max_tokens: 4, length_penalty };
        let toy = Toy::new(&[seed], 3);
        let expected = exhaustive(&toy, 0, &decoding);
        let found = &run(&toy, &decoding)[0];
        let finished: Vec<_> = found.iter().filter(|hypothesis| hypothesis.finished).cloned().collect();
        prop_assert_eq!(&finished[..], &expected[..finished.len()]);
        prop_assert_eq!(finished.len(), expected.len().min(16));
    }

    #[test]
    fn a_picture_is_captioned_alike_alone_and_in_a_batch(
        seeds in prop::collection::vec(any::<u64>(), 1..6),
        decoding in decodings(),
    ) {
        let together = run(&Toy::new(&seeds, 5), &decoding);
        for (seed, found) in seeds.iter().zip(&together) {
            prop_assert_eq!(&run(&Toy::new(&[*seed], 5), &decoding)[0], found);
        }
    }

    #[test]
    fn width_one_is_greedy(seed: u64, max_tokens in 1usize..8, length_penalty in 0.0f32..2.0) {
        let decoding = Decoding { beam: 1, max_tokens, length_penalty };
        let toy = Toy::new(&[seed], 5);
        let mut caption = Vec::new();
        let mut log_prob = 0.0;
        let mut finished = false;
        for length in 1..=max_tokens {
            let next = toy.next(0, &caption).into_iter().filter(|next| length > 1 || next.token != END);
            // The first of equals, as a stable sort gives it.
            let best = next.reduce(|a, b| if b.log_prob > a.log_prob { b } else { a }).unwrap();
            log_prob += best.log_prob;
            if best.token == END {
                finished = true;
                break;
            }
            caption.push(best.token);
        }
        let found = run(&toy, &decoding).remove(0);
        prop_assert_eq!(found.len(), 1);
        prop_assert_eq!(&found[0].tokens, &caption);
        prop_assert_eq!(found[0].finished, finished);
        prop_assert!((found[0].log_prob - log_prob).abs() < 1e-5);
    }

    #[test]
    fn scores_follow_the_contract(seed: u64, decoding in decodings()) {
        let toy = Toy::new(&[seed], 5);
        let found = run(&toy, &decoding).remove(0);
        prop_assert!(!found.is_empty() && found.len() <= decoding.beam);
        for hypothesis in &found {
            prop_assert!(!hypothesis.tokens.is_empty(), "a caption has at least one word");
            prop_assert!(hypothesis.length <= decoding.max_tokens);
            let mut caption = Vec::new();
            let mut sum = 0.0f32;
            let ends = if hypothesis.finished { &[END][..] } else { &[] };
            for token in hypothesis.tokens.iter().chain(ends) {
                let next = toy.next(0, &caption);
                sum += next.iter().find(|next| next.token == *token).unwrap().log_prob;
                caption.push(*token);
            }
            prop_assert_eq!(caption.len(), hypothesis.length);
            prop_assert!((sum - hypothesis.log_prob).abs() < 1e-4);
            let score = sum / (hypothesis.length as f32).powf(decoding.length_penalty);
            prop_assert!((score - hypothesis.score).abs() < 1e-4);
        }
        let finished = found.iter().take_while(|hypothesis| hypothesis.finished).count();
        prop_assert!(found[finished..].iter().all(|hypothesis| !hypothesis.finished));
        for part in [&found[..finished], &found[finished..]] {
            prop_assert!(part.windows(2).all(|pair| pair[0].score >= pair[1].score));
        }
    }
}

#[test]
fn the_search_stops_when_nothing_can_change() {
    /// Ends almost surely after one word.
    struct Terse(usize);
    impl Step for Terse {
        type Error = std::convert::Infallible;
        fn advance(
            &mut self,
            rows: &[Extend],
            top: usize,
        ) -> Result<Vec<Vec<Candidate>>, Self::Error> {
            self.0 += 1;
            let end = if self.0 == 1 { -9.0 } else { -0.001 };
            let word = if self.0 == 1 { -0.1 } else { -9.0 };
            let mut next = vec![
                Candidate {
                    token: END,
                    log_prob: end,
                },
                Candidate {
                    token: 3,
                    log_prob: word,
                },
                Candidate {
                    token: 4,
                    log_prob: word - 1.0,
                },
            ];
            next.sort_by(|a, b| b.log_prob.total_cmp(&a.log_prob));
            next.truncate(top);
            Ok(vec![next; rows.len()])
        }
    }
    let mut model = Terse(0);
    let decoding = Decoding {
        beam: 2,
        max_tokens: 50,
        length_penalty: 0.0,
    };
    let Ok(found) = search(&mut model, 1, &decoding);
    assert_eq!(found[0][0].tokens, [3]);
    assert_eq!(found[0][1].tokens, [4]);
    assert_eq!(model.0, 2, "both beams ended at the second step");
}

#[test]
fn a_model_that_gives_no_numbers_gives_no_captions() {
    struct Broken;
    impl Step for Broken {
        type Error = std::convert::Infallible;
        fn advance(
            &mut self,
            rows: &[Extend],
            _: usize,
        ) -> Result<Vec<Vec<Candidate>>, Self::Error> {
            let next = vec![Candidate {
                token: 3,
                log_prob: f32::NAN,
            }];
            Ok(vec![next; rows.len()])
        }
    }
    let decoding = Decoding {
        beam: 3,
        max_tokens: 5,
        length_penalty: 0.0,
    };
    let Ok(found) = search(&mut Broken, 2, &decoding);
    assert_eq!(found, [vec![], vec![]]);
}
