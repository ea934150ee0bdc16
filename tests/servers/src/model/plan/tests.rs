//! Which answer a request gets, and which fault.

use super::*;

fn ask(text: &str) -> Ask {
    Ask { text: text.to_owned(), ..Ask::default() }
}

fn said(plan: &Plan) -> String {
    match plan.blocks.as_slice() {
        [Block::Text(text)] => text.clone(),
        [Block::ToolUse { name, input }] => format!("{name} {input}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_glob_fits_the_whole_text() {
    for (pattern, text, fits) in [
        ("", "", true),
        ("", "a", false),
        ("*", "", true),
        ("a", "a", true),
        ("a", "ab", false),
        ("a*", "abc", true),
        ("*c", "abc", true),
        ("*b*", "abc", true),
        ("a*d", "abc", false),
        ("a?c", "abc", true),
        ("a?c", "ac", false),
        ("**?", "é", true),
        ("*aab", "aaaab", true),
    ] {
        assert_eq!(glob(pattern, text), fits, "{pattern:?} on {text:?}");
    }
}

#[test]
fn echo_repeats_the_ids_in_order() {
    for (text, answer) in [
        ("", "echo:"),
        ("no ids", "echo:"),
        ("[[id:b]] and [[id:a]], [[id:b]]", "echo: [[id:b]] [[id:a]] [[id:b]]"),
        ("[[id:open", "echo:"),
        ("<m>[[id:1]]</m>\n<m>[[id:2]]</m>", "echo: [[id:1]] [[id:2]]"),
    ] {
        assert_eq!(echo(text), answer, "{text:?}");
    }
}

#[test]
fn the_tool_answer_calls_each_command_and_then_quotes_the_last() {
    let planner = Planner::new(Script::tool());
    let mut ask = ask("[[bash:id]] then [[bash:ls -la]] {model}");
    assert_eq!(said(&planner.plan(&ask)), r#"bash {"command":"id"}"#);
    ask.steps = 1;
    ask.tool_results.push("root".into());
    assert_eq!(said(&planner.plan(&ask)), r#"bash {"command":"ls -la"}"#);
    ask.steps = 2;
    ask.tool_results.push("{system}".into());
    let plan = planner.plan(&ask);
    assert_eq!((said(&plan).as_str(), plan.stop), ("tool: {system}", StopReason::EndTurn));
}

#[test]
fn the_first_rule_that_fits_answers_and_its_last_turn_is_repeated() {
    let planner = Planner::new(
        Script::echo()
            .rule(When::Glob("hi*".into()), Answer::Turns(vec![Turn::text("{request}: hello")]))
            .on("hi", [Turn::text("one"), Turn::text("two")]),
    );
    assert_eq!(said(&planner.plan(&ask("hi there"))), "1: hello");
    for (steps, text) in [(0, "one"), (1, "two"), (5, "two")] {
        assert_eq!(said(&planner.plan(&Ask { steps, ..ask("oh hi") })), text);
    }
    assert_eq!(said(&planner.plan(&ask("[[id:7]]"))), "echo: [[id:7]]");
}

#[test]
fn a_spoilt_request_is_the_same_request_again() {
    let turns = [Turn::text("one").fault(Fault::cut(2).first(1)), Turn::text("two")];
    let planner = Planner::new(Script::turns(turns).fault(Fault::overloaded().first(2)));
    let plans: Vec<Plan> = (0..5).map(|_| planner.plan(&ask("[[id:x]]"))).collect();
    let faults: Vec<bool> = plans.iter().map(|plan| plan.fault.is_some()).collect();
    assert_eq!(faults, [true, true, true, false, false]);
    let texts: Vec<String> = plans.iter().map(said).collect();
    assert_eq!(texts, ["one", "one", "one", "one", "two"]);
    assert_eq!(said(&planner.plan(&ask("[[id:x]]"))), "echo: [[id:x]]");
}

#[test]
fn placeholders_are_filled_once() {
    let ask = Ask { model: "m".into(), ..ask("{model} {") };
    let Block::Text(text) = fill(Block::Text("{last_user}|{model}|{x}|{".into()), &ask, 1) else {
        panic!("text stays text")
    };
    assert_eq!(text, "{model} {|m|{x}|{");
}

#[test]
fn the_arguments_of_a_tool_are_filled_too() {
    let ask = Ask {
        unanswered: "[[id:1]] [[id:2]] [[id:2]]".into(),
        called: r#"{"text":"[[id:1]]"}"#.into(),
        ..ask("hi")
    };
    let input = json!({ "text": "new{new}", "list": ["all{unanswered}", 1], "{new}": null });
    let turns = [Turn::tool("send_message", input)];
    let plan = Planner::new(Script::echo().on("", turns)).plan(&ask);
    let filled =
        r#"send_message {"list":["all [[id:1]] [[id:2]]",1],"text":"new [[id:2]]","{new}":null}"#;
    assert_eq!(said(&plan), filled);
}

#[test]
fn what_was_said_in_the_middle_of_an_answer_is_unanswered_with_the_rest() {
    let said = |role: &str, content: Value| json!({ "role": role, "content": content });
    let input = json!({ "text": "[[id:2]]" });
    let call = json!([{ "type": "tool_use", "id": "t", "name": "send_message", "input": input }]);
    let result = json!([
        { "type": "tool_result", "tool_use_id": "t", "content": "" },
        { "type": "text", "text": "[[id:3]]" },
    ]);
    let messages = [
        said("user", "[[id:1]]".into()),
        said("assistant", "echo: [[id:1]]".into()),
        said("user", "[[id:2]]".into()),
        said("assistant", call),
        said("user", result),
    ];
    let ask = Ask::read(&json!({ "messages": messages }), "m", true, 0);
    assert_eq!(unanswered(&ask, ""), " [[id:2]] [[id:3]]");
    assert_eq!(unanswered(&ask, &ask.called), " [[id:3]]");
}
