//! The lines that tests and peers exchange: a verb and `field=value` pairs, values percent-encoded.
//! The head of `peer.py` lists the verbs and the answers.

use std::{collections::HashMap, fmt::Write as _};

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, percent_encode};

/// What one request has and others have not.
pub(crate) type Fields = [(&'static str, &'static str)];

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) verb: String,
    fields: HashMap<String, Vec<u8>>,
}

impl Request {
    pub(crate) fn new(verb: &str) -> Self {
        Self { verb: verb.into(), fields: HashMap::new() }
    }

    pub(crate) fn with(mut self, field: &str, value: impl AsRef<[u8]>) -> Self {
        self.fields.insert(field.into(), value.as_ref().into());
        self
    }

    pub(crate) fn with_all(self, fields: &Fields) -> Self {
        fields.iter().fold(self, |request, (field, value)| request.with(field, value))
    }

    pub(crate) fn has(&self, field: &str) -> bool {
        self.fields.contains_key(field)
    }

    pub(crate) fn bytes(&self, field: &str) -> &[u8] {
        self.fields.get(field).unwrap_or_else(|| panic!("{} without {field}", self.verb))
    }

    pub(crate) fn text(&self, field: &str) -> &str {
        str::from_utf8(self.bytes(field)).unwrap()
    }

    pub(crate) fn number(&self, field: &str) -> u64 {
        self.text(field).parse().unwrap()
    }

    /// As a line, with its end.
    pub(crate) fn line(&self) -> String {
        let mut line = self.verb.clone();
        for (field, value) in &self.fields {
            write!(line, " {field}={}", percent_encode(value, NON_ALPHANUMERIC)).unwrap();
        }
        line + "\n"
    }

    pub(crate) fn parse(line: &str) -> Self {
        let mut words = line.trim_end().split(' ');
        let mut request = Self::new(words.next().unwrap());
        for (field, value) in words.map(|word| word.split_once('=').unwrap()) {
            request = request.with(field, unquoted(value));
        }
        request
    }
}

pub(crate) fn quoted(bytes: &[u8]) -> String {
    percent_encode(bytes, NON_ALPHANUMERIC).to_string()
}

pub(crate) fn unquoted(text: &str) -> Vec<u8> {
    percent_decode_str(text).collect()
}
