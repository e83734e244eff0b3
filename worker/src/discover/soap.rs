//! SOAP 1.2 as ONVIF cameras speak it: questions, the login in their header, and answers read by the names of their
//! elements alone, since cameras disagree about namespaces.

use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use roxmltree::{Document, Node};
use sha1::{Digest, Sha1};

use super::Credentials;

/// The header's elements of a question.
const WSSE: &str = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd";
const WSU: &str = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd";
const DIGEST: &str =
    "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-username-token-profile-1.0#PasswordDigest";
const BASE64: &str = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-soap-message-security-1.0#Base64Binary";

/// A question with these elements in its header and its body.
pub fn envelope(header: &str, body: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\
         <s:Envelope xmlns:s=\"http://www.w3.org/2003/05/soap-envelope\">\
         <s:Header>{header}</s:Header><s:Body>{body}</s:Body></s:Envelope>"
    )
}

/// The login of WS-Security's UsernameToken profile 1.0: the password is hashed with a word of ours and the time, which is
/// the camera's, since a camera whose clock stands elsewhere refuses ours.
pub fn username_token(login: &Credentials, nonce: [u8; 16], created: Timestamp) -> String {
    let created = created.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let mut hash = Sha1::new();
    hash.update(nonce);
    hash.update(&created);
    hash.update(&login.password);
    let (user, password, nonce) = (escaped(&login.username), STANDARD.encode(hash.finalize()), STANDARD.encode(nonce));
    format!(
        "<w:Security xmlns:w=\"{WSSE}\" s:mustUnderstand=\"1\"><w:UsernameToken><w:Username>{user}</w:Username>\
         <w:Password Type=\"{DIGEST}\">{password}</w:Password>\
         <w:Nonce EncodingType=\"{BASE64}\">{nonce}</w:Nonce>\
         <u:Created xmlns:u=\"{WSU}\">{created}</u:Created></w:UsernameToken></w:Security>"
    )
}

/// Text as it stands in an element.
pub fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// What a camera answered instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The login is missing or wrong.
    pub unauthorized: bool,
    /// The camera's words.
    pub reason: String,
}

/// Reads an answer. A document type declaration is refused, and with it entities that grow.
///
/// # Errors
/// It is no XML, in words.
pub fn read(text: &str) -> Result<Document<'_>, String> {
    Document::parse(text.trim_start_matches('\u{feff}').trim()).map_err(|e| format!("answers with what is no XML: {e}"))
}

/// The fault in an answer, if it is one.
pub fn fault(answer: &Document<'_>) -> Option<Fault> {
    let fault = first(answer.root(), "Fault")?;
    let codes: Vec<String> = all(fault, &["Value", "faultcode"]).map(text).collect();
    let reason = all(fault, &["Text", "faultstring"]).map(text).find(|text| !text.is_empty());
    let reason = reason.or_else(|| codes.last().cloned()).unwrap_or_default();
    // ONVIF Core Specification, 5.11.2.2: `ter:NotAuthorized`; the others are WS-Security's, and words of cameras.
    let words = codes.iter().chain([&reason]).map(|word| word.to_ascii_lowercase());
    let refusals = ["notauthorized", "not authorized", "unauthorized", "failedauthentication", "failedcheck"];
    let unauthorized = words.into_iter().any(|word| refusals.iter().any(|refusal| word.contains(refusal)));
    Some(Fault { unauthorized, reason })
}

fn all<'a, 'i>(node: Node<'a, 'i>, names: &'a [&str]) -> impl Iterator<Item = Node<'a, 'i>> {
    node.descendants().filter(move |node| names.contains(&node.tag_name().name()))
}

/// All elements of this name below.
pub fn each<'a, 'i>(node: Node<'a, 'i>, name: &'a str) -> impl Iterator<Item = Node<'a, 'i>> {
    node.descendants().filter(move |node| node.tag_name().name() == name)
}

/// The first element of this name below, in the document's order.
pub fn first<'a, 'i>(node: Node<'a, 'i>, name: &str) -> Option<Node<'a, 'i>> {
    node.descendants().find(|node| node.tag_name().name() == name)
}

/// The text of the first element at this path of names below; empty where there is none.
pub fn text_at(node: Node<'_, '_>, path: &[&str]) -> String {
    let found = path.iter().try_fold(node, |node, name| first(node, name));
    found.map(text).unwrap_or_default()
}

/// The text of an element, without the blanks around it.
pub fn text(node: Node<'_, '_>) -> String {
    let parts: String = node.descendants().filter(Node::is_text).filter_map(|node| node.text()).collect();
    parts.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the ONVIF Application Programmer's Guide, 6.1.
    #[test]
    fn a_login_is_hashed_as_the_guide_does() {
        let login = Credentials { username: "user".into(), password: "userpassword".into() };
        let nonce = STANDARD.decode("LKqI6G/AikKCQrN0zqZFlg==").expect("base64").try_into().expect("16 bytes");
        let token = username_token(&login, nonce, "2010-09-16T07:50:45Z".parse().expect("a time"));
        assert!(token.contains(">tuOSpGlFlIXsozq4HFNeeGeFLEI=<"), "{token}");
        assert!(token.contains(">LKqI6G/AikKCQrN0zqZFlg==<") && token.contains(">2010-09-16T07:50:45Z<"), "{token}");
        let question = envelope(&token, "<a>&amp;</a>");
        let read = read(&question).expect("XML");
        assert_eq!(text_at(read.root(), &["UsernameToken", "Username"]), "user");
        assert_eq!(text_at(read.root(), &["Body", "a"]), "&");
    }

    #[test]
    fn faults_say_whether_the_login_is_what_is_wrong() {
        let onvif = "<e:Envelope xmlns:e='x' xmlns:ter='y'><e:Body><e:Fault><e:Code><e:Value>e:Sender</e:Value><e:Subcode>\
                     <e:Value>ter:NotAuthorized</e:Value></e:Subcode></e:Code><e:Reason><e:Text xml:lang='en'>The action \
                     requested requires authorization</e:Text></e:Reason></e:Fault></e:Body></e:Envelope>";
        let soap11 = "<E><Fault><faultcode>a:Client</faultcode><faultstring>Not supported</faultstring></Fault></E>";
        let bare = "<E><Fault><Code><Value>s:Receiver</Value></Code></Fault></E>";
        let of = |text: &str| fault(&read(text).expect("XML")).expect("a fault");
        let found = of(onvif);
        assert_eq!((found.unauthorized, &*found.reason), (true, "The action requested requires authorization"));
        assert_eq!(of(soap11), Fault { unauthorized: false, reason: "Not supported".into() });
        assert_eq!(of(bare), Fault { unauthorized: false, reason: "s:Receiver".into() });
        assert_eq!(fault(&read("<Envelope/>").expect("XML")), None);
    }

    #[test]
    fn what_is_no_answer_is_said() {
        for text in ["", "<html><p>", "{\"a\": 1}", "<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>"] {
            assert!(read(text).expect_err("no answer").starts_with("answers with what is no XML: "), "{text}");
        }
    }
}
