//! Every recipe in `pipelines/` is one; those for published data sets are what they say.

use std::fs;
use std::path::{Path, PathBuf};

use showtell::encoder::EncoderConfig;
use showtell::training::TrainingConfig;

const DATA_SETS: [&str; 3] = ["flickr8k", "flickr30k", "coco"];
/// Each with the vocabulary of its paper.
const CAPTIONERS: [(&str, &str); 4] = [
    ("show-and-tell", "show-and-tell"),
    ("show-and-tell-tuned", "show-and-tell"),
    ("soft-attention", "show-attend-tell"),
    ("hard-attention", "show-attend-tell"),
];

fn pipelines() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines")
}

/// The recipes: what else lies there has no captioner.
fn recipes() -> Vec<(PathBuf, String)> {
    let mut recipes: Vec<_> = fs::read_dir(pipelines())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "toml"))
        .map(|path| (path.clone(), fs::read_to_string(path).unwrap()))
        .filter(|(_, text)| text.contains("\n[captioner]\n"))
        .collect();
    recipes.sort();
    recipes
}

#[test]
fn every_recipe_can_be_read() {
    let recipes = recipes();
    assert!(recipes.len() > DATA_SETS.len() * CAPTIONERS.len());
    for (path, text) in &recipes {
        if let Err(error) = TrainingConfig::read(path) {
            panic!("{error}");
        }
        // Whoever reads the recipe is told the command, and it is this recipe's.
        let name = path.file_name().unwrap().to_str().unwrap();
        let command = format!("#   showtell train --config pipelines/{name}");
        assert!(text.contains(&command), "{name}");
    }
}

#[test]
fn each_captioner_has_a_recipe_for_each_data_set() {
    for data_set in DATA_SETS {
        for (captioner, preset) in CAPTIONERS {
            let name = format!("{data_set}-{captioner}");
            let text = fs::read_to_string(pipelines().join(format!("{name}.toml"))).unwrap();
            assert!(
                text.contains("\n# Published: "),
                "{name} has no numbers to expect"
            );
            let recipe: toml::Table = text.parse().unwrap();
            assert_eq!(recipe["name"].as_str(), Some(name.as_str()));
            assert_eq!(recipe["output"].as_str(), Some(&*format!("models/{name}")));
            let vocabulary = &recipe["data"]["vocabulary"]["preset"];
            assert_eq!(vocabulary.as_str(), Some(preset), "{name}");
            let training = recipe["training"].as_table().unwrap();
            let tuned = training.contains_key("encoder");
            assert_eq!(tuned, name.ends_with("-tuned"), "{name}");
            // VGG-16 as published, whichever of its layers is read.
            let encoder: EncoderConfig = recipe["encoder"].clone().try_into().unwrap();
            let published = EncoderConfig {
                layer: encoder.layer,
                weights: encoder.weights.clone(),
                ..EncoderConfig::vgg16()
            };
            assert_eq!(encoder, published, "{name}");
        }
    }
}
