//! The part of Python's pickle language that state dicts are written in.
//!
//! Values lie in an arena and refer to each other by number, because a pickle memoises a dict
//! before it fills it. A few names from `collections` and `torch` have a meaning; all others, and
//! what is made with them, become [`Value::Other`].

use std::collections::{BTreeMap, HashMap};
use std::io::Read;

use tch::Kind;

use super::input::Input;
use super::{PthError, kind_of};

/// Storages are called by numbers.
const MAX_KEY: usize = 64;

/// libtorch's iterators take no more.
const MAX_DIMENSIONS: usize = 64;

const SHORT_STACK: PthError = PthError::Malformed("its pickle takes more values than it gives");

pub enum Value {
    Int(i128),
    Text(String),
    Tuple(Vec<usize>),
    List(Vec<usize>),
    Dict(Vec<(usize, usize)>),
    Global(Global),
    Storage(Storage),
    Tensor(Strided),
    /// Anything else, in words.
    Other(String),
}

pub enum Global {
    OrderedDict,
    RebuildTensor,
    RebuildParameter,
    Storage(Kind),
    Other(String),
}

/// `count` elements from `first` on of the storage that is saved as `key`.
#[derive(Clone)]
pub struct Storage {
    pub key: String,
    pub first: u64,
    pub count: u64,
}

/// A tensor before its storage is read: `offset` counts from the [`Storage`]'s first element.
pub struct Strided {
    pub key: String,
    pub first: u64,
    pub count: u64,
    pub offset: u64,
    pub size: Vec<i64>,
    pub stride: Vec<i64>,
}

impl Value {
    /// What this is, for a message.
    pub fn what(&self) -> String {
        match self {
            Value::Int(_) => "a number".to_owned(),
            Value::Text(_) => "a text".to_owned(),
            Value::Tuple(_) => "a tuple".to_owned(),
            Value::List(_) => "a list".to_owned(),
            Value::Dict(entries) if entries.is_empty() => "an empty dict".to_owned(),
            Value::Dict(_) => "a dict without tensors".to_owned(),
            Value::Global(Global::Other(name)) => format!("the name {name}"),
            Value::Global(_) => "a name of PyTorch's".to_owned(),
            Value::Storage(_) => "a bare storage".to_owned(),
            Value::Tensor(_) => "a single tensor".to_owned(),
            Value::Other(what) => what.clone(),
        }
    }
}

/// A name out of a file, fit for a message of one line.
pub fn shown(name: &str) -> String {
    name.chars().take(80).flat_map(char::escape_debug).collect()
}

/// What one pickle holds.
#[derive(Default)]
pub struct Pickle {
    values: Vec<Value>,
    root: usize,
    /// Of all storages that it refers to: kind and count of elements.
    pub storages: BTreeMap<String, (Kind, u64)>,
    stack: Vec<usize>,
    marks: Vec<usize>,
    memo: HashMap<u32, usize>,
}

impl Pickle {
    /// Reads one pickle, and nothing of what follows it.
    pub fn read<R: Read>(input: &mut Input<R>) -> Result<Self, PthError> {
        let mut pickle = Self::default();
        loop {
            match input.byte()? {
                b'.' => {
                    pickle.root = pickle.pop()?;
                    return Ok(pickle);
                }
                instruction => pickle.step(instruction, input)?,
            }
        }
    }

    pub fn root(&self) -> &Value {
        self.get(self.root)
    }

    /// `id` is a number out of this pickle's values.
    pub fn get(&self, id: usize) -> &Value {
        &self.values[id]
    }

    /// A dict's entries under texts; of other values, none.
    pub fn entries<'a>(&'a self, value: &'a Value) -> impl Iterator<Item = (&'a str, &'a Value)> {
        let entries = match value {
            Value::Dict(entries) => &entries[..],
            _ => &[],
        };
        entries.iter().filter_map(|(name, value)| {
            let Value::Text(name) = self.get(*name) else {
                return None;
            };
            Some((name.as_str(), self.get(*value)))
        })
    }

    fn step<R: Read>(&mut self, instruction: u8, input: &mut Input<R>) -> Result<(), PthError> {
        match instruction {
            // PROTO and FRAME
            0x80 => drop(input.byte()?),
            0x95 => drop(input.array::<8>()?),
            // MARK and POP
            b'(' => self.marks.push(self.stack.len()),
            b'0' => {
                if self.marks.last() == Some(&self.stack.len()) {
                    self.marks.pop();
                } else {
                    self.pop()?;
                }
            }
            // BINPUT, LONG_BINPUT, MEMOIZE, BINGET and LONG_BINGET
            b'q' => {
                let at = input.byte()?;
                self.memoise(at.into())?;
            }
            b'r' => {
                let at = input.long()?;
                self.memoise(at)?;
            }
            0x94 => {
                let at = u32::try_from(self.memo.len()).map_err(|_| PthError::Truncated)?;
                self.memoise(at)?;
            }
            b'h' => {
                let at = input.byte()?;
                self.recall(at.into())?;
            }
            b'j' => {
                let at = input.long()?;
                self.recall(at)?;
            }
            // BININT, BININT1, BININT2 and LONG1
            b'J' => self.push(Value::Int(i32::from_le_bytes(input.array()?).into())),
            b'K' => self.push(Value::Int(input.byte()?.into())),
            b'M' => self.push(Value::Int(u16::from_le_bytes(input.array()?).into())),
            0x8a => {
                let length = input.byte()?;
                let bytes = input.bytes(length.into())?;
                self.push(integer(&bytes));
            }
            // BINFLOAT
            b'G' => {
                input.array::<8>()?;
                self.push(Value::Other("a number".to_owned()));
            }
            // BINUNICODE and BINSTRING, SHORT_BINUNICODE and SHORT_BINSTRING
            b'X' | b'T' => {
                let length = input.long()?;
                self.push(Value::Text(input.text(length.into())?));
            }
            0x8c | b'U' => {
                let length = input.byte()?;
                self.push(Value::Text(input.text(length.into())?));
            }
            // NONE, NEWTRUE, NEWFALSE and EMPTY_SET
            b'N' => self.push(Value::Other("None".to_owned())),
            0x88 | 0x89 => self.push(Value::Other("a bool".to_owned())),
            0x8f => self.push(Value::Other("a set".to_owned())),
            // EMPTY_TUPLE, TUPLE1, TUPLE2, TUPLE3 and TUPLE
            b')' => self.push(Value::Tuple(Vec::new())),
            0x85..=0x87 => {
                let at = self
                    .stack
                    .len()
                    .checked_sub(usize::from(instruction - 0x84));
                let items = self.stack.split_off(at.ok_or(SHORT_STACK)?);
                self.push(Value::Tuple(items));
            }
            b't' => {
                let items = self.pop_marked()?;
                self.push(Value::Tuple(items));
            }
            // EMPTY_LIST, APPEND and APPENDS
            b']' => self.push(Value::List(Vec::new())),
            b'a' => {
                let item = self.pop()?;
                self.append(vec![item])?;
            }
            b'e' => {
                let items = self.pop_marked()?;
                self.append(items)?;
            }
            // EMPTY_DICT, SETITEM and SETITEMS
            b'}' => self.push(Value::Dict(Vec::new())),
            b's' => {
                let value = self.pop()?;
                let name = self.pop()?;
                self.set(&[name, value])?;
            }
            b'u' => {
                let items = self.pop_marked()?;
                self.set(&items)?;
            }
            // GLOBAL and STACK_GLOBAL
            b'c' => {
                let (module, name) = (input.line()?, input.line()?);
                self.push(Value::Global(global(&module, &name)));
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let (Value::Text(module), Value::Text(name)) = (self.get(module), self.get(name))
                else {
                    return Err(PthError::Malformed("its pickle has a name that is no text"));
                };
                let global = global(module, name);
                self.push(Value::Global(global));
            }
            // REDUCE and NEWOBJ: call and make
            b'R' | 0x81 => {
                let (arguments, function) = (self.pop()?, self.pop()?);
                self.reduce(function, arguments)?;
            }
            // ADDITEMS
            0x90 => drop(self.pop_marked()?),
            // BUILD: what it would set (`_metadata`, as a rule) says nothing of the tensors
            b'b' => drop(self.pop()?),
            // BINPERSID
            b'Q' => {
                let id = self.pop()?;
                let storage = self.storage(id)?;
                self.push(storage);
            }
            other => return Err(PthError::Instruction(other)),
        }
        Ok(())
    }

    fn push(&mut self, value: Value) {
        self.stack.push(self.values.len());
        self.values.push(value);
    }

    fn pop(&mut self) -> Result<usize, PthError> {
        self.stack.pop().ok_or(SHORT_STACK)
    }

    fn top(&self) -> Result<usize, PthError> {
        self.stack.last().copied().ok_or(SHORT_STACK)
    }

    fn pop_marked(&mut self) -> Result<Vec<usize>, PthError> {
        let at = self.marks.pop().filter(|at| *at <= self.stack.len());
        Ok(self.stack.split_off(at.ok_or(SHORT_STACK)?))
    }

    fn memoise(&mut self, at: u32) -> Result<(), PthError> {
        self.memo.insert(at, self.top()?);
        Ok(())
    }

    fn recall(&mut self, at: u32) -> Result<(), PthError> {
        let id = self.memo.get(&at).copied();
        self.stack.push(id.ok_or(PthError::Malformed(
            "its pickle recalls what it never noted",
        ))?);
        Ok(())
    }

    fn append(&mut self, mut items: Vec<usize>) -> Result<(), PthError> {
        let list = self.top()?;
        match &mut self.values[list] {
            Value::List(list) => list.append(&mut items),
            Value::Other(_) => {}
            _ => return Err(PthError::Malformed("its pickle appends to what is no list")),
        }
        Ok(())
    }

    fn set(&mut self, items: &[usize]) -> Result<(), PthError> {
        let dict = self.top()?;
        match (&mut self.values[dict], items.as_chunks::<2>()) {
            (Value::Dict(dict), (pairs, [])) => {
                dict.extend(pairs.iter().map(|[name, value]| (*name, *value)));
            }
            (Value::Other(_), _) => {}
            _ => return Err(PthError::Malformed("its pickle fills what is no dict")),
        }
        Ok(())
    }

    /// Does what calling `function` would, for the few functions that have a meaning here.
    fn reduce(&mut self, function: usize, arguments: usize) -> Result<(), PthError> {
        let arguments: &[usize] = match self.get(arguments) {
            Value::Tuple(arguments) => arguments,
            _ => return Err(PthError::Malformed("its pickle calls without arguments")),
        };
        let made = match (self.get(function), arguments) {
            (Value::Global(Global::OrderedDict), []) => Value::Dict(Vec::new()),
            // As Python 2 wrote them.
            (Value::Global(Global::OrderedDict), [pairs]) => {
                let pairs = *pairs;
                Value::Dict(self.pairs(pairs)?)
            }
            (Value::Global(Global::RebuildTensor), [storage, offset, size, stride, ..]) => {
                self.tensor(*storage, *offset, *size, *stride)?
            }
            (Value::Global(Global::RebuildParameter), [tensor, ..]) => {
                let tensor = *tensor;
                self.stack.push(tensor);
                return Ok(());
            }
            (Value::Global(Global::Other(name)), _) => Value::Other(format!("an object of {name}")),
            _ => Value::Other("an object of no known kind".to_owned()),
        };
        self.push(made);
        Ok(())
    }

    /// Takes the list's items, lest a short pickle make a thousand dicts of one long list.
    fn pairs(&mut self, list: usize) -> Result<Vec<(usize, usize)>, PthError> {
        let wrong = PthError::Malformed("its pickle makes a dict of what are no pairs");
        let Value::List(pairs) = &mut self.values[list] else {
            return Err(wrong);
        };
        let pairs = std::mem::take(pairs);
        let pairs = pairs.iter().map(|pair| match self.get(*pair) {
            Value::Tuple(pair) | Value::List(pair) => match pair[..] {
                [name, value] => Some((name, value)),
                _ => None,
            },
            _ => None,
        });
        pairs.collect::<Option<_>>().ok_or(wrong)
    }

    fn tensor(
        &self,
        storage: usize,
        offset: usize,
        size: usize,
        stride: usize,
    ) -> Result<Value, PthError> {
        let Value::Storage(Storage { key, first, count }) = self.get(storage) else {
            return Ok(Value::Other("a tensor of an unknown kind".to_owned()));
        };
        Ok(Value::Tensor(Strided {
            key: key.clone(),
            first: *first,
            count: *count,
            offset: self.count(offset)?,
            size: self.counts(size)?,
            stride: self.counts(stride)?,
        }))
    }

    /// What stands for a storage: `("storage", class, key, device, count)`, in the older format
    /// with a sixth, which is None or a part of it: `(key, first, count)`.
    fn storage(&mut self, id: usize) -> Result<Value, PthError> {
        let other = || Ok(Value::Other("an object outside the pickle".to_owned()));
        let Value::Tuple(fields) = self.get(id) else {
            return other();
        };
        let [tag, class, key, _, total, ref view @ ..] = fields[..] else {
            return other();
        };
        let (Value::Text(tag), Value::Global(Global::Storage(kind)), Value::Text(key)) =
            (self.get(tag), self.get(class), self.get(key))
        else {
            return other();
        };
        if tag != "storage" || key.len() > MAX_KEY {
            return other();
        }
        let (kind, key, total) = (*kind, key.clone(), self.count(total)?);
        let (mut first, mut count) = (0, total);
        if let [view] = view
            && let Value::Tuple(view) = self.get(*view)
            && let [_, start, length] = view[..]
        {
            (first, count) = (self.count(start)?, self.count(length)?);
        }
        let wrong = |what| PthError::Storage {
            key: shown(&key),
            what,
        };
        if first.checked_add(count).is_none_or(|end| end > total) {
            return Err(wrong("a part of it reaches beyond it"));
        }
        if *self.storages.entry(key.clone()).or_insert((kind, total)) != (kind, total) {
            return Err(wrong("tensors disagree on its kind or size"));
        }
        Ok(Value::Storage(Storage { key, first, count }))
    }

    fn count(&self, id: usize) -> Result<u64, PthError> {
        match self.get(id) {
            Value::Int(count) => u64::try_from(*count).ok(),
            _ => None,
        }
        .ok_or(PthError::Malformed("a count in its pickle is none"))
    }

    fn counts(&self, id: usize) -> Result<Vec<i64>, PthError> {
        let wrong = PthError::Malformed("a tensor's size in its pickle is none");
        let (Value::Tuple(ids) | Value::List(ids)) = self.get(id) else {
            return Err(wrong);
        };
        if ids.len() > MAX_DIMENSIONS {
            return Err(PthError::Malformed("a tensor has too many dimensions"));
        }
        let sides = ids.iter().map(|id| match self.get(*id) {
            Value::Int(side) => i64::try_from(*side).ok(),
            _ => None,
        });
        sides.collect::<Option<_>>().ok_or(wrong)
    }
}

/// Little-endian, signed, of any length.
fn integer(bytes: &[u8]) -> Value {
    let mut wide = match bytes.last() {
        Some(0x80..) => [0xff; 16],
        _ => [0; 16],
    };
    match wide.get_mut(..bytes.len()) {
        Some(low) => low.copy_from_slice(bytes),
        None => return Value::Other("a number".to_owned()),
    }
    Value::Int(i128::from_le_bytes(wide))
}

fn global(module: &str, name: &str) -> Global {
    match (module, name) {
        ("collections", "OrderedDict") => Global::OrderedDict,
        ("torch._utils", "_rebuild_tensor_v2" | "_rebuild_tensor") => Global::RebuildTensor,
        ("torch._utils", "_rebuild_parameter") => Global::RebuildParameter,
        _ => match kind_of(name).filter(|_| module == "torch") {
            Some(kind) => Global::Storage(kind),
            None => Global::Other(shown(&format!("{module}.{name}"))),
        },
    }
}
