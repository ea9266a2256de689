//! What the gateway itself tells clients: who comes and goes, and who published what when.

use std::time::SystemTime;

use smallvec::SmallVec;

use super::client::Socket;
use crate::hub::{Broadcast, Except, Name, Rooms, Target};
use crate::protocol::ids::looks_like_socket_id;
use crate::protocol::json;
use crate::protocol::socket;

/// Broadcasts that one event makes: mostly one.
pub(super) type Broadcasts = SmallVec<[Broadcast; 1]>;

/// What a socket did to a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Movement {
    Join,
    Leave,
}

/// Writes who a socket is to others, as fields of an object: `"socket":"…","user":null`.
pub(super) fn write_who(json: &mut String, shown: &str, user: Option<&str>) {
    json.push_str(r#""socket":"#);
    json::write_string(json, shown);
    json.push_str(r#","user":"#);
    match user {
        Some(user) => json::write_string(json, user),
        None => json.push_str("null"),
    }
}

/// Tells the other members of each room that a socket came or went; nothing where the namespace does not want that.
pub(super) fn presence(socket: &Socket, movement: Movement, rooms: &[Name]) -> Broadcasts {
    if !socket.rules.presence {
        return Broadcasts::new();
    }
    self::movement(
        &socket.namespace,
        (socket.shown_id().as_str(), socket.user.as_deref()),
        &socket.excepted(),
        movement,
        rooms,
    )
}

/// Tells the members of each room but `except` that the socket that is shown by this id, and is this user's, came or
/// went.
pub(super) fn movement(
    namespace: &Name,
    (shown_id, user): (&str, Option<&str>),
    except: &Except,
    movement: Movement,
    rooms: &[Name],
) -> Broadcasts {
    let action = match movement {
        Movement::Join => "join",
        Movement::Leave => "leave",
    };
    let announce = |room: &Name| {
        let mut json = String::from(r#"["presence",{"room":"#);
        json::write_string(&mut json, room);
        json.push_str(r#","action":""#);
        json.push_str(action);
        json.push_str("\",");
        write_who(&mut json, shown_id, user);
        json.push_str("}]");
        Broadcast {
            namespace: Name::clone(namespace),
            target: Target::Rooms(Rooms::one(&**room)),
            except: except.clone(),
            packet: socket::event(namespace, &[&json], Box::default()),
            is_volatile: false,
        }
    };
    let public = rooms.iter().filter(|room| !looks_like_socket_id(room));
    public.map(announce).collect()
}

/// The last argument of what a socket publishes, with the comma before it: `,{"socket":…}`. `room` is the one it was
/// published to, where it was one.
pub(super) fn stamp(socket: &Socket, room: Option<&str>) -> String {
    let mut json = String::from(",{");
    write_who(&mut json, socket.shown_id().as_str(), socket.user.as_deref());
    json.push_str(r#","room":"#);
    match room {
        Some(room) => json::write_string(&mut json, room),
        None => json.push_str("null"),
    }
    json.push_str(r#","time":""#);
    json.push_str(&humantime::format_rfc3339_millis(SystemTime::now()).to_string());
    json.push_str(r#""}"#);
    json
}
