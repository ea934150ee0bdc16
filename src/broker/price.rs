//! List prices, so that spending can be shown and limited.
//!
//! From <https://platform.claude.com/docs/en/about-claude/pricing> as of November 2026, for calls without batch or
//! fast mode. Amazon's prices are the same, except that its regional profiles may cost a tenth more, which is not
//! counted. A model that is not in the table costs 0 here: tokens are counted, money is not, and a group with a budget
//! may not ask it. What is counted is an estimate for the owner, not a bill.

use crate::model::Usage;

/// Prices of one family of models, in millionths of a dollar per million tokens, which is to say: in millionths of
/// a millionth of a dollar per token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Price {
    input: u64,
    output: u64,
    cache_read: u64,
}

/// A prompt of more tokens than this costs more with the models in [`LONG_PROMPTS`].
const LONG_PROMPT_TOKENS: u64 = 100_000;

/// Names as they stand in a model's id, and the prices; the cache is written at 5/4 of the input's price (for an
/// hour: at twice of it).
#[rustfmt::skip]
const PRICES: &[(&str, Price)] = &[
    ("fable-5-1",  price(10_000_000, 50_000_000,   250_000)),
    ("mythos-5-1", price(10_000_000, 50_000_000,   250_000)),
    ("fable-5",    price(10_000_000, 50_000_000, 1_000_000)),
    ("mythos-5",   price(10_000_000, 50_000_000, 1_000_000)),
    ("opus-5-5",   price( 4_000_000, 20_000_000,   200_000)),
    ("opus-5",     price( 5_000_000, 25_000_000,   500_000)),
    ("opus-4-8",   price( 5_000_000, 25_000_000,   500_000)),
    ("opus-4-7",   price( 5_000_000, 25_000_000,   500_000)),
    ("opus-4-6",   price( 5_000_000, 25_000_000,   500_000)),
    ("opus-4-5",   price( 5_000_000, 25_000_000,   500_000)),
    ("opus-4-1",   price(15_000_000, 75_000_000, 1_500_000)),
    ("opus-4",     price(15_000_000, 75_000_000, 1_500_000)),
    ("3-opus",     price(15_000_000, 75_000_000, 1_500_000)),
    ("sonnet-5-5", price( 2_000_000, 10_000_000,   100_000)),
    ("sonnet-5",   price( 2_000_000, 10_000_000,   200_000)),
    ("sonnet-4-6", price( 3_000_000, 15_000_000,   300_000)),
    ("sonnet-4-5", price( 3_000_000, 15_000_000,   300_000)),
    ("sonnet-4",   price( 3_000_000, 15_000_000,   300_000)),
    ("3-7-sonnet", price( 3_000_000, 15_000_000,   300_000)),
    ("3-5-sonnet", price( 3_000_000, 15_000_000,   300_000)),
    ("haiku-5-5",  price(   100_000,    500_000,    10_000)),
    ("haiku-4-5",  price( 1_000_000,  5_000_000,   100_000)),
    ("3-5-haiku",  price(   800_000,  4_000_000,    80_000)),
    ("3-haiku",    price(   250_000,  1_250_000,    25_000)),
];

/// What prompts over [`LONG_PROMPT_TOKENS`] cost, where that is something else; for all tokens of the call.
const LONG_PROMPTS: &[(&str, Price)] = &[("haiku-5-5", price(500_000, 2_500_000, 50_000))];

const fn price(input: u64, output: u64, cache_read: u64) -> Price {
    Price { input, output, cache_read }
}

/// Whether calls of a model have a price here.
pub(super) fn is_known(model: &str) -> bool {
    find(PRICES, model).is_some()
}

/// What a call cost, in millionths of a dollar, rounded up; 0 when the model is not known.
/// `hour_writes` is how many of the tokens written to the cache are to stay for an hour.
pub(super) fn cost_micros(model: &str, usage: &Usage, hour_writes: u64) -> u64 {
    let prompt = usage
        .input_tokens
        .saturating_add(usage.cache_read_tokens)
        .saturating_add(usage.cache_write_tokens);
    let long = (prompt > LONG_PROMPT_TOKENS).then(|| find(LONG_PROMPTS, model)).flatten();
    let Some(price) = long.or_else(|| find(PRICES, model)) else { return 0 };
    let hour_writes = hour_writes.min(usage.cache_write_tokens);
    let short_writes = usage.cache_write_tokens - hour_writes;
    let parts = [
        (usage.input_tokens, price.input),
        (usage.output_tokens, price.output),
        (usage.cache_read_tokens, price.cache_read),
        (short_writes, price.input + price.input / 4),
        (hour_writes, price.input * 2),
    ];
    let total: u128 =
        parts.iter().map(|&(tokens, price)| u128::from(tokens) * u128::from(price)).sum();
    u64::try_from(total.div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

fn find(table: &[(&str, Price)], model: &str) -> Option<Price> {
    table.iter().find(|(family, _)| is_of_family(model, family)).map(|&(_, price)| price)
}

/// Whether a model's id names this family, with or without a date, a version, or a provider's prefix. A further
/// number makes it another family: `opus-4` does not stand for `opus-4-9`, whose price nobody knows here.
fn is_of_family(model: &str, family: &str) -> bool {
    let Some(at) = model.find(family) else { return false };
    let (before, rest) = model.split_at(at);
    let Some(rest) = rest.strip_prefix(family) else { return false };
    let named = before.ends_with("claude-");
    let date =
        rest.strip_prefix("-20").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    let other = ["-v", "-latest", ":", "@", "["].iter().any(|mark| rest.starts_with(mark));
    named && (rest.is_empty() || date || other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(model: &str, [input, output, read, write, hour]: [u64; 5], expected: u64) {
        let usage = Usage {
            requests: 1,
            input_tokens: input,
            output_tokens: output,
            cache_read_tokens: read,
            cache_write_tokens: write,
            cost_micros: 0,
        };
        assert_eq!(cost_micros(model, &usage, hour), expected, "{model}");
    }

    #[test]
    fn calls_cost_what_the_list_says() {
        const M: u64 = 1_000_000;
        check("claude-sonnet-4-5-20250929", [M, 0, 0, 0, 0], 3_000_000);
        check("claude-sonnet-4-5", [0, M, 0, 0, 0], 15_000_000);
        check("claude-sonnet-4-5", [0, 0, M, M, 0], 4_050_000);
        check("claude-sonnet-4-5", [0, 0, 0, M, M], 6_000_000);
        check("eu.anthropic.claude-sonnet-4-5-20250929-v1:0", [M, 0, 0, 0, 0], 3_000_000);
        check("us.anthropic.claude-opus-4-6-v1", [M, 0, 0, 0, 0], 5_000_000);
        check("claude-opus-4-20250514", [M, M, 0, 0, 0], 90_000_000);
        check("claude-opus-5-5", [M, 0, 0, 0, 0], 4_000_000);
        check("claude-opus-5", [M, 0, 0, 0, 0], 5_000_000);
        check("claude-3-5-haiku-latest", [M, 0, 0, 0, 0], 800_000);
        check("claude-haiku-5-5", [100_000, 0, 0, 0, 0], 10_000);
        check("claude-haiku-5-5", [100_000, 0, 1, 0, 0], 50_001);
        check("claude-haiku-4-5", [1, 1, 0, 0, 0], 6);
        check("claude-haiku-5-5", [1, 0, 0, 0, 0], 1);
        check("claude-opus-4-5", [u64::MAX, u64::MAX, 0, 0, 0], u64::MAX);
    }

    #[test]
    fn what_is_not_in_the_list_is_said_to_be_unknown_and_costs_nothing() {
        assert!(is_known("claude-sonnet-4-5"));
        for model in
            ["claude-opus-4-9", "claude-sonnet-6", "gpt-5", "", "my-opus-4-5-thing", "opus-5"]
        {
            assert!(!is_known(model), "{model}");
            check(model, [1_000_000; 5], 0);
        }
    }
}
