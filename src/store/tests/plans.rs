//! What is asked again and again, and what the start asks, never walks through a table that grows for ever.

use rusqlite::Connection;

use super::Home;

/// Every statement of the store's files: string literals that begin like one.
fn statements() -> Vec<String> {
    let sources = [
        include_str!("../catch_up.rs"),
        include_str!("../groups.rs"),
        include_str!("../intake.rs"),
        include_str!("../outbox.rs"),
        include_str!("../outbox/files.rs"),
        include_str!("../outbox/progress.rs"),
        include_str!("../requests.rs"),
        include_str!("../revise.rs"),
        include_str!("../router.rs"),
        include_str!("../runs.rs"),
        include_str!("../runs/claim.rs"),
        include_str!("../runs/end.rs"),
        include_str!("../usage.rs"),
    ];
    let literals = sources.iter().flat_map(|source| source.split('"').skip(1).step_by(2));
    let heads = literals.clone().find(|literal| literal.starts_with("SELECT min(id)")).unwrap();
    let rows = literals.clone().find(|literal| literal.starts_with("SELECT *, (")).unwrap();
    let verbs = ["SELECT ", "INSERT ", "UPDATE ", "DELETE ", "{ROWS}"];
    literals
        .filter(|literal| *literal != rows)
        .filter(|literal| verbs.iter().any(|verb| literal.starts_with(verb)))
        .map(|literal| literal.replace("{HEADS}", heads).replace("{ROWS}", rows))
        .map(|statement| statement.replace("{holds}", "c.group_name = ?2"))
        .collect()
}

#[test]
fn no_statement_walks_through_messages_runs_outbox_or_requests() {
    let home = Home::new();
    drop(home.open());
    let connection = Connection::open(home.path()).unwrap();
    // The plans of inserts name a walk through the rows that refer to the new one, which is only taken when a
    // violated reference is outstanding: never here.
    connection.pragma_update(None, "foreign_keys", false).unwrap();
    let statements = statements();
    assert!(statements.len() > 40, "only {} statements found", statements.len());
    for sql in statements {
        let mut plan = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let nothing = vec![rusqlite::types::Null; plan.parameter_count()];
        let steps = plan.query_map(rusqlite::params_from_iter(nothing), |row| row.get(3)).unwrap();
        for step in steps.map(|step: rusqlite::Result<String>| step.unwrap()) {
            let bounded = step.contains("USING INDEX router_state_")
                || step.contains("INDEX outbox_open")
                || step.contains("INDEX outbox_failed")
                || step.contains("INDEX runs_unfinished")
                || step.contains("INDEX runs_given_up");
            // Newest first with a limit ends after as many rows.
            let newest = sql.contains("ORDER BY id DESC LIMIT");
            for table in ["messages", "runs", "outbox", "requests", "router_state", "r", "m"] {
                let walks =
                    step == format!("SCAN {table}") || step.starts_with(&format!("SCAN {table} "));
                assert!(!walks || bounded || newest, "{sql}\n{step}");
            }
        }
    }
}
