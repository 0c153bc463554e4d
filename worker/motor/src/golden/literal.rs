//! Python literals as JSON values: the conditions of reference files are written as Python prints them.

use serde_json::{Map, Number, Value};

/// Reads a literal of numbers, strings, booleans, `None`, lists, tuples and dictionaries; `None` if it is none.
pub(super) fn parse(text: &str) -> Option<Value> {
    let mut reader = Reader { rest: text };
    let value = reader.value()?;
    reader.skip_space();
    reader.rest.is_empty().then_some(value)
}

struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    /// Takes a character if it comes next, after space.
    fn take(&mut self, wanted: char) -> bool {
        self.skip_space();
        match self.rest.strip_prefix(wanted) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn value(&mut self) -> Option<Value> {
        self.skip_space();
        match self.rest.chars().next()? {
            '[' => self.sequence('[', ']'),
            '(' => self.sequence('(', ')'),
            '{' => self.dictionary(),
            quote @ ('\'' | '"') => self.string(quote).map(Value::String),
            _ => self.word(),
        }
    }

    /// A list or tuple. Parentheses around a single value without a comma are that value.
    fn sequence(&mut self, open: char, close: char) -> Option<Value> {
        self.take(open);
        let mut values = Vec::new();
        let mut comma = true;
        while !self.take(close) {
            if !comma {
                return None;
            }
            values.push(self.value()?);
            comma = self.take(',');
        }
        if open == '(' && !comma && values.len() == 1 {
            return values.pop();
        }
        Some(Value::Array(values))
    }

    fn dictionary(&mut self) -> Option<Value> {
        self.take('{');
        let mut entries = Map::new();
        let mut comma = true;
        while !self.take('}') {
            if !comma {
                return None;
            }
            let key = match self.value()? {
                Value::String(key) => key,
                other => other.to_string(),
            };
            if !self.take(':') {
                return None;
            }
            entries.insert(key, self.value()?);
            comma = self.take(',');
        }
        Some(Value::Object(entries))
    }

    fn string(&mut self, quote: char) -> Option<String> {
        let mut text = String::new();
        let mut characters = self.rest.char_indices().skip(1);
        while let Some((at, character)) = characters.next() {
            match character {
                '\\' => text.push(match characters.next()?.1 {
                    'n' => '\n',
                    't' => '\t',
                    'r' => '\r',
                    same @ ('\\' | '\'' | '"') => same,
                    _ => return None,
                }),
                end if end == quote => {
                    self.rest = &self.rest[at + end.len_utf8()..];
                    return Some(text);
                }
                other => text.push(other),
            }
        }
        None
    }

    fn word(&mut self) -> Option<Value> {
        let belongs = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '+' | '-' | '_');
        let end = self.rest.find(|c| !belongs(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        match word {
            "True" | "true" => Some(Value::Bool(true)),
            "False" | "false" => Some(Value::Bool(false)),
            "None" | "null" => Some(Value::Null),
            _ => match word.parse::<i64>() {
                Ok(integer) => Some(integer.into()),
                Err(_) => Number::from_f64(word.parse().ok()?).map(Value::Number),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn literals_are_read_as_python_prints_them() {
        let cases = [
            ("[0, -1, 2]", json!([0, -1, 2])),
            (
                "(('a', 5, None), (\"it's\", 1e-05, True))",
                json!([["a", 5, null], ["it's", 1e-5, true]]),
            ),
            ("(('only', 3),)", json!([["only", 3]])),
            ("()", json!([])),
            ("(2.5)", json!(2.5)),
            (
                " {'x': [False], 'y(z)': 'True, (1)'} ",
                json!({"x": [false], "y(z)": "True, (1)"}),
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_literal_is_refused() {
        for text in ["", "[1", "[1 2]", "'open", "word", "1)", "nan", "{'a' 1}"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
