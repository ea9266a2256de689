//! JSONP, which clients up to 4.2 use where nothing else is left.

use serde_json::{Value, json};

use crate::client::http::{Connection, Request, Response};
use crate::client::payload::{Packet, decode, encode};
use crate::gateway::{ECHO, TestGateway};

/// A session whose answers are scripts of our own page.
struct Jsonp {
    connection: Connection,
    eio: u8,
    target: String,
}

fn same_origin(target: &str) -> Request {
    Request::get(target).header("Sec-Fetch-Site", "same-origin")
}

/// Runs the script, as far as that goes: one call with one string.
#[track_caller]
fn called_with(index: &str, response: &Response) -> String {
    assert_eq!(response.status, 200, "{}", response.text());
    assert_eq!(response.header("content-type"), Some("text/javascript; charset=UTF-8"));
    let script = response.text();
    assert!(
        !script.contains(['\u{2028}', '\u{2029}']),
        "a line end in a script's string"
    );
    let call = script
        .strip_prefix(&format!("___eio[{index}]("))
        .unwrap_or_else(|| panic!("{script}"));
    serde_json::from_str(call.strip_suffix(");").unwrap_or_else(|| panic!("{script}"))).unwrap()
}

/// The form that a client posts: every LF becomes `\n`, and every `\n` that was there one with two backslashes.
fn form(payload: &str) -> String {
    let escaped = payload.replace("\\n", "\\\n").replace('\n', "\\n");
    form_urlencoded::Serializer::new(String::new())
        .append_pair("d", &escaped)
        .finish()
}

impl Jsonp {
    async fn open(gateway: &TestGateway, eio: u8) -> Self {
        let mut connection = Connection::open(gateway.address).await;
        let target = format!("/socket.io/?EIO={eio}&transport=polling&j=3");
        let response = connection.request(&same_origin(&target)).await;
        let packets = decode(eio, "text/plain", called_with("3", &response).as_bytes());
        let open: Value = serde_json::from_str(packets[0].as_text().strip_prefix('0').unwrap()).unwrap();
        let target = format!("{target}&sid={}", open["sid"].as_str().unwrap());
        let mut session = Self {
            connection,
            eio,
            target,
        };
        if eio == 4 {
            session.post(&encode(4, &[Packet::text("40")])).await;
        }
        if packets.len() == 1 {
            assert!(session.poll().await[0].as_text().starts_with("40"));
        }
        session
    }

    async fn post(&mut self, payload: &str) {
        let request = Request::post(&self.target, form(payload))
            .header("Content-Type", "application/x-www-form-urlencoded")
            .header("Sec-Fetch-Site", "same-origin");
        let response = self.connection.request(&request).await;
        response.is_ok();
        assert_eq!(response.header("content-type"), Some("text/html"));
    }

    async fn poll(&mut self) -> Vec<Packet> {
        let response = self.connection.request(&same_origin(&self.target)).await;
        decode(self.eio, "text/plain", called_with("3", &response).as_bytes())
    }
}

#[tokio::test]
async fn answers_are_scripts_and_posts_are_forms() {
    let gateway = TestGateway::start(ECHO).await;
    for eio in [3, 4] {
        let mut session = Jsonp::open(&gateway, eio).await;
        let words = json!(["a\nb\\nc", "\u{2028}\u{2029}", "\"&=%+ é€😀", "\\\\n\\\\\n"]);
        let event = format!("425[\"echo\",{}", &words.to_string()[1..]);
        session.post(&encode(eio, &[Packet::Text(event)])).await;
        let answer = session.poll().await;
        let answer = answer[0].as_text().strip_prefix("435").unwrap();
        assert_eq!(serde_json::from_str::<Value>(answer).unwrap(), words, "EIO={eio}");
    }
}

#[tokio::test]
async fn a_form_written_by_a_real_client_is_read() {
    let gateway = TestGateway::start(ECHO).await;
    let mut session = Jsonp::open(&gateway, 3).await;
    let form = "d=22%3A425%5B%22echo%22%2C%22a%5C%5Cnb%5C%5C%5Cnc%22%5D";
    let request = Request::post(&session.target, form)
        .header("Content-Type", "application/x-www-form-urlencoded")
        .header("Sec-Fetch-Site", "same-origin");
    session.connection.request(&request).await.is_ok();
    assert_eq!(session.poll().await, [Packet::text(r#"435["a\nb\\nc"]"#)]);
}

#[tokio::test]
async fn bytes_travel_as_base64() {
    let gateway = TestGateway::start(ECHO).await;
    for eio in [3, 4] {
        let mut session = Jsonp::open(&gateway, eio).await;
        let header = Packet::text(r#"451-5["echo",{"_placeholder":true,"num":0}]"#);
        let bytes = Packet::Binary(vec![0, 0xff, 4, 10, 92]);
        session.post(&encode(eio, &[header, bytes.clone()])).await;
        let answer = session.poll().await;
        assert_eq!(answer[0], Packet::text(r#"461-5[{"_placeholder":true,"num":0}]"#));
        assert_eq!(answer[1], bytes);
    }
}

#[tokio::test]
async fn only_the_digits_of_the_index_are_used() {
    let gateway = TestGateway::plain().await;
    for (index, digits) in [("7", "7"), ("abc7", "7"), ("1);alert(2", "12"), ("%3Cscript%3E0", "0")] {
        let target = format!("/socket.io/?EIO=3&transport=polling&j={index}");
        let response = Connection::open(gateway.address)
            .await
            .request(&same_origin(&target))
            .await;
        let payload = called_with(digits, &response);
        assert!(payload.contains(":0{\"sid\""), "{payload}");
    }
}

#[tokio::test]
async fn a_form_that_is_none_is_a_bad_request() {
    let gateway = TestGateway::plain().await;
    for body in ["", "x=40", "d=", "d=9", "40"] {
        let mut session = Jsonp::open(&gateway, 4).await;
        let request = Request::post(&session.target, body)
            .header("Content-Type", "application/x-www-form-urlencoded")
            .header("Sec-Fetch-Site", "same-origin");
        session
            .connection
            .request(&request)
            .await
            .is_error(400, 3, "Bad request");
    }
}

#[tokio::test]
async fn errors_are_no_scripts() {
    let gateway = TestGateway::plain().await;
    let target = "/socket.io/?EIO=3&transport=polling&j=0&sid=AAAAAAAAAAAAAAAAAAAA";
    Connection::open(gateway.address)
        .await
        .request(&same_origin(target))
        .await
        .is_unknown_session();
}

#[tokio::test]
async fn a_script_element_on_another_site_learns_nothing() {
    let gateway = TestGateway::plain().await;
    let target = "/socket.io/?EIO=3&transport=polling&j=0";
    let here = format!("http://{}/page", gateway.address);
    for (headers, allowed) in [
        (vec![], false),
        (vec![("Referer", here.as_str())], true),
        (vec![("Referer", "https://evil.example/page")], false),
        (vec![("Referer", "nonsense")], false),
        (vec![("Sec-Fetch-Site", "same-origin")], true),
        (vec![("Sec-Fetch-Site", "none")], false),
        (vec![("Sec-Fetch-Site", "cross-site")], false),
        (
            vec![("Sec-Fetch-Site", "cross-site"), ("Referer", "https://evil.example/")],
            false,
        ),
    ] {
        let request = headers.iter().fold(Request::get(target), |request, (name, value)| {
            request.header(name, value)
        });
        let response = Connection::open(gateway.address).await.request(&request).await;
        if allowed {
            assert_eq!(response.status, 200, "{headers:?}");
        } else {
            assert_eq!(response.status, 403, "{headers:?}");
            response.is_error(403, 4, "Forbidden");
        }
    }
}

#[tokio::test]
async fn a_listed_page_may_use_jsonp() {
    let gateway = TestGateway::start("server.origins = [\"https://app.example\"]\n").await;
    let target = "/socket.io/?EIO=3&transport=polling&j=0";
    for (referer, status) in [
        ("https://app.example/page?x=1", 200),
        ("https://app.example.evil/", 403),
    ] {
        let request = Request::get(target)
            .header("Sec-Fetch-Site", "cross-site")
            .header("Referer", referer);
        let response = Connection::open(gateway.address).await.request(&request).await;
        assert_eq!(response.status, status, "{referer}");
    }
}
