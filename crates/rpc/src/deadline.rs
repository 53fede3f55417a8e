//! How long a call may take, as its caller says in a header, kept on both sides.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep};
use tonic::{Status, body::Body};

const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// No call is given longer; also what keeps the arithmetic of timers safe.
const TIMEOUT_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

/// Reads the caller's patience. A header that cannot be read is no limit, as upstream.
pub(crate) fn timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(GRPC_TIMEOUT)?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    // The protocol allows eight digits.
    if digits.is_empty() || digits.len() > 8 {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    let timeout = match unit {
        "H" => Duration::from_secs(number * 3600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    };
    Some(timeout.min(TIMEOUT_MAX))
}

/// Writes the caller's patience, in the finest unit that holds it.
pub(crate) fn set_timeout(headers: &mut HeaderMap, timeout: Duration) {
    const EIGHT_DIGITS: u128 = 99_999_999;
    let text = [(timeout.as_millis(), "m"), (timeout.as_secs().into(), "S")]
        .into_iter()
        .find(|&(number, _)| number <= EIGHT_DIGITS)
        .map_or_else(|| format!("{EIGHT_DIGITS}S"), |(number, unit)| format!("{number}{unit}"));
    if let Ok(value) = HeaderValue::from_str(&text) {
        headers.insert(GRPC_TIMEOUT, value);
    }
}

/// The answer to a call whose time is over.
pub(crate) fn exceeded() -> Status {
    Status::deadline_exceeded("context deadline exceeded")
}

/// Ends a body with the answer above when its time is over.
pub(crate) fn limit(body: Body, until: Instant) -> Body {
    Body::new(Limited { body, sleep: Box::pin(tokio::time::sleep_until(until)), over: false })
}

struct Limited {
    body: Body,
    sleep: Pin<Box<Sleep>>,
    over: bool,
}

impl http_body::Body for Limited {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.over {
            return Poll::Ready(None);
        }
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            return Poll::Ready(frame);
        }
        if self.sleep.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        self.over = true;
        // Whatever makes the body stops now, not when the caller has read the answer.
        self.body = Body::empty();
        let mut trailers = HeaderMap::new();
        Poll::Ready(Some(exceeded().add_header(&mut trailers).map(|()| Frame::trailers(trailers))))
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }

    fn is_end_stream(&self) -> bool {
        self.over || self.body.is_end_stream()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert(GRPC_TIMEOUT, HeaderValue::from_str(text).unwrap());
        timeout(&headers)
    }

    #[test]
    fn all_units_are_read() {
        for (text, timeout) in [
            ("2H", Duration::from_secs(7200)),
            ("3M", Duration::from_secs(180)),
            ("42S", Duration::from_secs(42)),
            ("13m", Duration::from_millis(13)),
            ("2u", Duration::from_micros(2)),
            ("82n", Duration::from_nanos(82)),
            ("99999999H", TIMEOUT_MAX),
        ] {
            assert_eq!(read(text), Some(timeout), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_timeout_is_no_limit() {
        for text in ["", "S", "12", "1x", "-1S", "123456789S", "\u{e4}"] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        for timeout in [Duration::from_millis(1), Duration::from_millis(1500), Duration::from_secs(200_000)] {
            let mut headers = HeaderMap::new();
            set_timeout(&mut headers, timeout);
            assert_eq!(super::timeout(&headers), Some(timeout));
        }
    }
}
