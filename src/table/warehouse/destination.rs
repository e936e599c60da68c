//! Turns `delta:DIRECTORY` or `delta:s3://BUCKET/PATH` into a place for a table.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use deltalake::ObjectStoreError;
use object_store::ClientConfigKey;
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey};

/// Where a table is to be published.
#[derive(Clone, PartialEq, Eq)]
pub enum Destination {
    Directory(PathBuf),
    S3 {
        /// `s3://BUCKET/PATH`
        url: String,
        /// Credentials, endpoint, region: by the names that the environment has for them.
        settings: BTreeMap<String, String>,
    },
}

/// A text that names no place for a table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is no place for a table: {problem}; give delta:DIRECTORY or delta:s3://BUCKET/PATH"
)]
pub struct DestinationError {
    text: String,
    problem: &'static str,
}

impl FromStr for Destination {
    type Err = DestinationError;

    fn from_str(text: &str) -> Result<Self, DestinationError> {
        let wrong = |problem| {
            let text = text.to_owned();
            Err(DestinationError { text, problem })
        };
        let Some(place) = text.strip_prefix("delta:") else {
            return wrong("it does not begin with delta:");
        };
        let (scheme, path) = match place.split_once("://") {
            None => ("file", place),
            Some(parts) => parts,
        };
        match scheme {
            "file" if path.is_empty() => wrong("it names no directory"),
            "file" => Ok(Self::Directory(path.into())),
            "s3" | "s3a" => match path.split_once('/') {
                Some((bucket, path))
                    if !bucket.is_empty() && !path.trim_matches('/').is_empty() =>
                {
                    Ok(Self::S3 {
                        url: place.to_owned(),
                        settings: BTreeMap::new(),
                    })
                }
                _ => wrong("it names no path in a bucket"),
            },
            _ => wrong("only directories and S3 are known here"),
        }
    }
}

impl Destination {
    /// With what `AWS_...` settings say, where the destination is S3. Others are passed over.
    pub fn with_settings(self, given: impl IntoIterator<Item = (String, String)>) -> Self {
        match self {
            Self::S3 { url, .. } => Self::S3 {
                url,
                settings: given.into_iter().collect(),
            },
            directory => directory,
        }
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(path) => path.display().fmt(f),
            Self::S3 { url, .. } => url.fmt(f),
        }
    }
}

/// Without the settings, some of which are secret.
impl fmt::Debug for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What reads and writes objects, with the settings that it knows.
pub fn store(url: &str, settings: &BTreeMap<String, String>) -> Result<AmazonS3, ObjectStoreError> {
    let mut builder = AmazonS3Builder::new().with_url(url);
    for (name, value) in settings {
        if let Ok(key) = name.to_ascii_lowercase().parse::<AmazonS3ConfigKey>() {
            builder = builder.with_config(key, value);
        }
    }
    let setting = |key| builder.get_config_value(&key);
    let is_plain = setting(AmazonS3ConfigKey::Endpoint).is_some_and(|url| url.starts_with("http:"));
    let allowed = setting(AmazonS3ConfigKey::Client(ClientConfigKey::AllowHttp));
    if is_plain && allowed.is_none_or(|allowed| allowed != "true") {
        let problem = "AWS_ENDPOINT_URL is without TLS, which AWS_ALLOW_HTTP=true allows";
        return Err(ObjectStoreError::Generic {
            store: "S3",
            source: problem.into(),
        });
    }
    builder.build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_directories_or_s3() {
        let parsed = |text: &str| text.parse::<Destination>();
        assert_eq!(
            parsed("delta:a/b"),
            Ok(Destination::Directory("a/b".into()))
        );
        assert_eq!(
            parsed("delta:file:///a"),
            Ok(Destination::Directory("/a".into()))
        );
        let s3 = "s3://bucket/captions";
        assert_eq!(parsed(&format!("delta:{s3}")).unwrap().to_string(), s3);
        for text in [
            "a/b",
            "delta:",
            "delta:s3://bucket",
            "delta:s3:///a",
            "delta:gs://a/b",
        ] {
            let error = parsed(text).unwrap_err().to_string();
            assert!(error.contains("give delta:DIRECTORY"), "{error}");
        }
    }

    #[test]
    fn what_has_no_tls_has_to_be_allowed() {
        let mut settings = BTreeMap::from([(
            "AWS_ENDPOINT_URL".to_owned(),
            "http://127.0.0.1:9000".to_owned(),
        )]);
        let error = store("s3://bucket/path", &settings).err().unwrap();
        assert!(error.to_string().contains("AWS_ALLOW_HTTP=true"), "{error}");
        settings.insert("AWS_ALLOW_HTTP".to_owned(), "true".to_owned());
        store("s3://bucket/path", &settings).unwrap();
    }
}
