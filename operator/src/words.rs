//! Errors of the Kubernetes client in words for people: its own have the answer's fields as Rust writes them.

use kube::{core::Status, runtime::watcher};

/// Why a request failed.
pub fn words(error: &kube::Error) -> String {
    if let kube::Error::Api(status) = error { of_status(status) } else { chain(error) }
}

/// Why a watch failed.
pub fn words_of_watch(error: &watcher::Error) -> String {
    use watcher::Error;
    match error {
        Error::InitialListFailed(error) | Error::WatchStartFailed(error) | Error::WatchFailed(error) => words(error),
        Error::WatchError(status) => of_status(status),
        Error::NoResourceVersion => chain(error),
    }
}

/// What the API server said, and under which name it knows it.
fn of_status(status: &Status) -> String {
    match (status.message.as_str(), status.reason.as_str()) {
        ("", "") => format!("the API server answered {}", status.code),
        ("", reason) => format!("{reason} ({})", status.code),
        (message, "") => format!("{message} ({})", status.code),
        (message, reason) => format!("{message} ({reason}, {})", status.code),
    }
}

/// An error and its causes, each said once: some say theirs themselves.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    for cause in std::iter::successors(error.source(), |cause| cause.source()) {
        let words = cause.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused() -> Status {
        Status { code: 403, message: "exceeded quota".into(), reason: "Forbidden".into(), ..Status::default() }
    }

    #[test]
    fn an_answer_is_told_in_its_own_words_and_not_as_rust_writes_it() {
        let error = kube::Error::Api(Box::new(refused()));
        assert_eq!(words(&error), "exceeded quota (Forbidden, 403)");
        assert!(error.to_string().contains("Status {"), "once it is not, this is no longer needed");
        let failed = watcher::Error::InitialListFailed(error);
        assert_eq!(words_of_watch(&failed), "exceeded quota (Forbidden, 403)");
        let silent = Status { code: 500, ..Status::default() };
        assert_eq!(words(&kube::Error::Api(Box::new(silent))), "the API server answered 500");
    }

    #[test]
    fn a_request_without_an_answer_says_why_once() {
        let io = std::io::Error::new(std::io::ErrorKind::ConnectionRefused, "refused");
        let said = words(&kube::Error::Service(Box::new(io)));
        assert_eq!(said.matches("refused").count(), 1, "{said}");
    }
}
