//! Methods that show views: forms, and the home of the app.

use serde_json::{Value, json};

use crate::slack::args::Args;
use crate::slack::json::Fields as _;
use crate::slack::refusal::Answer;
use crate::slack::world::World;

/// `views.open` and `views.push`
pub(super) fn open(world: &mut World, args: &Args) -> Answer {
    world.take_trigger(args.need("trigger_id")?)?;
    let id = format!("V0FAKE{:05}", world.next_id());
    show(world, args, id)
}

/// `views.update`
pub(super) fn update(world: &mut World, args: &Args) -> Answer {
    let id = args.need("view_id")?.to_owned();
    if !world.views.contains_key(&id) {
        return Err("not_found".into());
    }
    show(world, args, id)
}

/// `views.publish`
pub(super) fn publish(world: &mut World, args: &Args) -> Answer {
    let user = args.need("user_id")?;
    if !world.users.contains_key(user) {
        return Err("user_not_found".into());
    }
    show(world, args, format!("V0HOME{user}"))
}

fn show(world: &mut World, args: &Args, id: String) -> Answer {
    let Value::Object(_) = args.json("view") else { return Err("invalid_arguments".into()) };
    let mut view = args.json("view").clone();
    let options = &world.options;
    let given = json!({
        "id": id, "team_id": options.team_id, "app_id": options.app_id, "bot_id": options.bot_id,
        "app_installed_team_id": options.team_id, "state": { "values": {} }, "hash": "1.1",
        "root_view_id": id, "previous_view_id": null, "external_id": "",
    });
    for (key, value) in given.as_object().into_iter().flatten() {
        view.put(key, value.clone());
    }
    world.views.insert(id, view.clone());
    Ok(json!({ "view": view }))
}
