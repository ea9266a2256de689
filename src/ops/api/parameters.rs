//! Queries and segments of paths: decoded strictly, so that no two requests that look different mean the same by accident.

use super::answer::Failure;

/// Sockets or rooms of a page where nobody says how many.
const LIMIT_DEFAULT: usize = 100;

/// The most of a page.
pub(super) const LIMIT_MAX: usize = 1000;

/// The parameters of a request, each given once at most.
#[derive(Debug, Default)]
pub(super) struct Parameters(Vec<(&'static str, String)>);

impl Parameters {
    /// Reads a query that may hold these parameters.
    pub(super) fn read(query: Option<&str>, known: &[&'static str]) -> Result<Self, Failure> {
        let mut parameters = Self::default();
        for pair in query.unwrap_or("").split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = decode(name, true).ok_or_else(|| Failure::bad_request("the query is not encoded UTF-8"))?;
            let Some(known) = known.iter().find(|known| **known == name) else {
                let message = if known.is_empty() {
                    "is no parameter: there is none here".to_owned()
                } else {
                    format!("is no parameter: there are {}", known.join(", "))
                };
                return Err(Failure::field(&name, message));
            };
            if parameters.get(known).is_some() {
                return Err(Failure::field(known, "is given twice"));
            }
            let value = decode(value, true).ok_or_else(|| Failure::field(known, "is not encoded UTF-8"))?;
            parameters.0.push((known, value));
        }
        Ok(parameters)
    }

    /// The value of a parameter.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let mut parameters = self.0.iter();
        parameters.find(|(of, _)| *of == name).map(|(_, value)| value.as_str())
    }

    /// The same; it must not be empty.
    pub(super) fn filled(&self, name: &'static str) -> Result<Option<&str>, Failure> {
        match self.get(name) {
            Some("") => Err(Failure::field(name, "is empty")),
            value => Ok(value),
        }
    }

    /// The namespace, `/` where none is named.
    pub(super) fn namespace(&self) -> Result<&str, Failure> {
        let namespace = self.get("namespace").unwrap_or("/");
        if namespace.starts_with('/') {
            Ok(namespace)
        } else {
            Err(Failure::field("namespace", "must begin with a slash"))
        }
    }

    /// How many are wanted.
    pub(super) fn limit(&self) -> Result<usize, Failure> {
        let Some(limit) = self.get("limit") else {
            return Ok(LIMIT_DEFAULT);
        };
        let is_number = !limit.is_empty() && limit.bytes().all(|byte| byte.is_ascii_digit());
        let number = limit.parse().ok().filter(|number| (1..=LIMIT_MAX).contains(number));
        number
            .filter(|_| is_number)
            .ok_or_else(|| Failure::field("limit", format!("must be a whole number from 1 to {LIMIT_MAX}")))
    }
}

/// A segment of a path.
pub(super) fn segment(name: &'static str, text: &str) -> Result<String, Failure> {
    decode(text, false).ok_or_else(|| Failure::field(name, "is not encoded UTF-8"))
}

/// Decodes `%41`, and `+` where that stands for a space; `None` where it is no text.
fn decode(text: &str, plus_is_space: bool) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                u8::try_from(digit()? << 4 | digit()?).ok()?
            }
            b'+' if plus_is_space => b' ',
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_decoded_and_nothing_else() {
        for (text, expected) in [
            ("", Some("")),
            ("a%2Fb%20c", Some("a/b c")),
            ("%c3%A9", Some("é")),
            ("a+b", Some("a b")),
            ("%2B", Some("+")),
            ("%", None),
            ("%4", None),
            ("%zz", None),
            ("%+1", None),
            ("%ff", None),
        ] {
            assert_eq!(decode(text, true).as_deref(), expected, "{text}");
        }
        assert_eq!(decode("a+b", false).as_deref(), Some("a+b"));
    }

    #[test]
    fn the_parameter_at_fault_is_named() {
        let known = ["room", "limit", "namespace"];
        for (query, expected) in [
            ("rom=a", "`rom` is no parameter: there are room, limit, namespace"),
            ("room=a&room=b", "`room` is given twice"),
            ("room=%ff", "`room` is not encoded UTF-8"),
            ("%ff=a", "the query is not encoded UTF-8"),
        ] {
            let failure = Parameters::read(Some(query), &known).unwrap_err();
            assert_eq!(failure.message, expected, "{query}");
        }
        let read = |query| Parameters::read(Some(query), &known).unwrap();
        assert_eq!(read("room=a%26b&&limit=7").get("room"), Some("a&b"));
        assert_eq!(read("limit=1000").limit(), Ok(1000));
        assert_eq!(read("").limit(), Ok(100));
        for limit in ["", "0", "-1", "+1", "1001", "1.0", "x", "99999999999999999999"] {
            let query = format!("limit={}", limit.replace('+', "%2B"));
            let limit = Parameters::read(Some(&query), &known).unwrap().limit();
            assert_eq!(
                limit.unwrap_err().message,
                "`limit` must be a whole number from 1 to 1000",
                "{query}"
            );
        }
        assert_eq!(read("room=").filled("room").unwrap_err().message, "`room` is empty");
        assert_eq!(
            read("namespace=a").namespace().unwrap_err().message,
            "`namespace` must begin with a slash"
        );
        assert_eq!(read("").namespace(), Ok("/"));
        assert!(Parameters::read(Some("a"), &[]).is_err());
    }
}
