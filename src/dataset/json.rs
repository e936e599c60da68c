//! Reads a large JSON object piece by piece, and knows where it is when something is wrong:
//! `annotations[17].caption`.
//!
//! What is not wanted is passed over while it is read, so nothing but the wanted values is ever in
//! memory.

use std::cell::RefCell;
use std::fmt::{self, Write as _};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::lines::BYTE_ORDER_MARK;
use super::{DatasetError, JsonFault};

/// Takes the fields of an object.
pub trait Fields {
    /// Reads, or passes over, the value of `key`.
    fn field<'de, A: MapAccess<'de>>(
        &mut self,
        key: &str,
        value: Value<'_, A>,
    ) -> Result<(), A::Error>;

    /// Told when the object has ended.
    fn end(&self) -> Result<(), Missing> {
        Ok(())
    }
}

/// Declares an object of which plain fields are wanted, `field: Type = "key"`, each an option, as any may be
/// missing or null.
macro_rules! object {
    ($name:ident { $($field:ident: $kind:ty = $key:literal),* }) => {
        #[derive(Default)]
        struct $name {
            $($field: Option<$kind>,)*
        }

        impl $crate::dataset::json::Fields for $name {
            fn field<'de, A: serde::de::MapAccess<'de>>(
                &mut self,
                key: &str,
                value: $crate::dataset::json::Value<'_, A>,
            ) -> Result<(), A::Error> {
                match key {
                    $($key => self.$field = value.read($key)?,)*
                    _ => value.skip()?,
                }
                Ok(())
            }
        }
    };
}

pub(super) use object;

/// A field that has to be there and is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Missing(pub &'static str);

/// Where the reader is.
#[derive(Default)]
struct Place(RefCell<Vec<Step>>);

#[derive(Clone, Copy)]
enum Step {
    Field(&'static str),
    Item(usize),
}

impl Place {
    fn enter(&self, step: Step) {
        self.0.borrow_mut().push(step);
    }

    /// Not called after an error: so the place stays where it was met.
    fn leave(&self) {
        self.0.borrow_mut().pop();
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (depth, step) in self.0.borrow().iter().enumerate() {
            match step {
                Step::Field(name) if depth == 0 => f.write_str(name)?,
                Step::Field(name) => write!(f, ".{name}")?,
                Step::Item(number) => write!(f, "[{number}]")?,
            }
        }
        Ok(())
    }
}

/// The value of a field that has not been read yet.
pub struct Value<'a, A> {
    map: &'a mut A,
    place: &'a Place,
}

impl<'de, A: MapAccess<'de>> Value<'_, A> {
    /// Passes over it.
    pub fn skip(self) -> Result<(), A::Error> {
        self.map.next_value::<IgnoredAny>().map(|_| ())
    }

    pub fn read<T: Deserialize<'de>>(self, name: &'static str) -> Result<T, A::Error> {
        self.place.enter(Step::Field(name));
        let value = self.map.next_value()?;
        self.place.leave();
        Ok(value)
    }

    /// Reads an array of objects and hands each on. Tells whether there is an array: `null` is none.
    pub fn objects<T: Fields + Default>(
        self,
        name: &'static str,
        each: impl FnMut(T) -> Result<(), Missing>,
    ) -> Result<bool, A::Error> {
        self.place.enter(Step::Field(name));
        let is_there = self.map.next_value_seed(Objects {
            place: self.place,
            each,
            item: std::marker::PhantomData,
        })?;
        self.place.leave();
        Ok(is_there)
    }
}

struct Object<'a, F> {
    fields: &'a mut F,
    place: &'a Place,
}

impl<'de, F: Fields> DeserializeSeed<'de> for Object<'_, F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, F: Fields> Visitor<'de> for Object<'_, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut key = String::new();
        while map.next_key_seed(Key(&mut key))?.is_some() {
            let value = Value {
                map: &mut map,
                place: self.place,
            };
            self.fields.field(&key, value)?;
        }
        let ended = self.fields.end();
        ended.map_err(|Missing(field)| A::Error::missing_field(field))
    }
}

/// Reads a key into a string that is used again.
struct Key<'a>(&'a mut String);

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<(), E> {
        self.0.clear();
        self.0.push_str(key);
        Ok(())
    }
}

struct Objects<'a, T, Each> {
    place: &'a Place,
    each: Each,
    item: std::marker::PhantomData<T>,
}

impl<'de, T, Each> DeserializeSeed<'de> for Objects<'_, T, Each>
where
    T: Fields + Default,
    Each: FnMut(T) -> Result<(), Missing>,
{
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, T, Each> Visitor<'de> for Objects<'_, T, Each>
where
    T: Fields + Default,
    Each: FnMut(T) -> Result<(), Missing>,
{
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of objects")
    }

    fn visit_unit<E: Error>(self) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<bool, A::Error> {
        for number in 0.. {
            self.place.enter(Step::Item(number));
            let mut item = T::default();
            let seed = Object {
                fields: &mut item,
                place: self.place,
            };
            if items.next_element_seed(seed)?.is_none() {
                self.place.leave();
                break;
            }
            (self.each)(item).map_err(|Missing(field)| A::Error::missing_field(field))?;
            self.place.leave();
        }
        Ok(true)
    }
}

/// Reads the object that a file holds.
pub fn read_file(path: &Path, fields: &mut impl Fields) -> Result<(), DatasetError> {
    let file = File::open(path).map_err(|source| DatasetError::Read {
        path: path.into(),
        source,
    })?;
    read(BufReader::with_capacity(1 << 16, file), path, fields)
}

/// The same from anything that can be read; `path` is for messages. A byte order mark is passed over.
pub fn read(
    mut reader: impl BufRead,
    path: &Path,
    fields: &mut impl Fields,
) -> Result<(), DatasetError> {
    let unreadable = |source| DatasetError::Read {
        path: path.into(),
        source,
    };
    let start = reader.fill_buf().map_err(unreadable)?;
    if start.is_empty() {
        return Err(DatasetError::Empty(path.into()));
    }
    if start.starts_with(BYTE_ORDER_MARK) {
        reader.consume(BYTE_ORDER_MARK.len());
    }
    let place = Place::default();
    let mut json = serde_json::Deserializer::from_reader(reader);
    let object = Object {
        fields,
        place: &place,
    };
    let read = object.deserialize(&mut json).and_then(|()| json.end());
    read.map_err(|error| match error.classify() {
        serde_json::error::Category::Io => unreadable(error.into()),
        _ => {
            let mut way = String::new();
            // Writing to a String cannot fail.
            let _ = write!(way, "{place}");
            DatasetError::Json {
                path: path.into(),
                source: JsonFault { place: way, error },
            }
        }
    })
}
