use super::*;

/// The manner of Qwen2.5: a default system turn, a special branch for tools, whitespace control everywhere.
const QWEN25_STYLE: &str = r#"{%- if tools %}
    {{- '<|im_start|>system\n' }}
    {%- for tool in tools %}{{- tool | tojson }}{%- endfor %}
    {{- "<|im_end|>\n" }}
{%- else %}
    {%- if messages[0]['role'] == 'system' %}
        {{- '<|im_start|>system\n' + messages[0]['content'] + '<|im_end|>\n' }}
    {%- else %}
        {{- '<|im_start|>system\nBe of use.<|im_end|>\n' }}
    {%- endif %}
{%- endif %}
{%- for message in messages %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) or (message.role == "assistant" and not message.tool_calls) %}
        {{- '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>' + '\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\n' }}
{%- endif %}
"#;

/// The manner of Llama 3.x: BOS, headers, a guarded date, trimmed contents, a refusal of odd roles.
const LLAMA3_STYLE: &str = r#"{{- bos_token }}
{%- if not date_string is defined %}
    {%- if strftime_now is defined %}
        {%- set date_string = strftime_now("%d %b %Y") %}
    {%- else %}
        {%- set date_string = "01 Jan 2024" %}
    {%- endif %}
{%- endif %}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\n\n" }}
{{- "Day: " + date_string + "\n\n" }}
{{- system_message }}
{{- "<|eot_id|>" }}
{%- for message in messages %}
    {%- if message.role not in ['user', 'assistant'] %}{{ raise_exception("no role " + message.role) }}{% endif %}
    {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'+ message['content'] | trim + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}
{%- endif %}
"#;

/// The manner of Qwen3: a namespace, a reversed walk, string methods, thinking that is kept only in the last answer.
const QWEN3_STYLE: &str = r#"{%- set ns = namespace(multi_step_tool=true, last_query_index=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.multi_step_tool and message.role == "user" and message.content is string and not(message.content.startswith('<tool_response>') and message.content.endswith('</tool_response>')) %}
        {%- set ns.multi_step_tool = false %}
        {%- set ns.last_query_index = index %}
        {%- break %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- set content = message.content %}
    {%- if message.role == "assistant" %}
        {%- set reasoning = '' %}
        {%- if message.reasoning_content is defined and message.reasoning_content is not none %}
            {%- set reasoning = message.reasoning_content %}
        {%- elif '</think>' in content %}
            {%- set reasoning = content.split('</think>')[0].rstrip('\n').split('<think>')[-1].lstrip('\n') %}
            {%- set content = content.split('</think>')[-1].lstrip('\n') %}
        {%- endif %}
        {%- if loop.index0 > ns.last_query_index and reasoning %}
            {{- '<|im_start|>assistant\n<think>\n' + reasoning.strip('\n') + '\n</think>\n\n' + content + '<|im_end|>\n' }}
        {%- else %}
            {{- '<|im_start|>assistant\n' + content + '<|im_end|>\n' }}
        {%- endif %}
    {%- else %}
        {{- '<|im_start|>' + message.role + '\n' + content + '<|im_end|>' + '\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\n\n</think>\n\n' }}
    {%- endif %}
{%- endif %}"#;

/// The manner of SmolLM2: one long line, subscripts.
const SMOLLM2_STYLE: &str = "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}\
    {{ '<|im_start|>system\nSmall but helpful<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + message['role'] + '\n' + \
    message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

fn context() -> TemplateContext {
    TemplateContext { bos_token: "<|begin|>".into(), eos_token: "<|end|>".into(), ..TemplateContext::default() }
}

fn compile(source: &str, context: TemplateContext) -> ChatTemplate {
    ChatTemplate::compile(source.to_owned(), "test".into(), context).unwrap()
}

/// The rendering of a conversation given as (role, content).
fn check(source: &str, turns: &[(&str, &str)], tail: GenerationPrompt, expected: &str) {
    let messages: Vec<Message> =
        turns.iter().map(|(role, content)| Message { role: (*role).into(), content: (*content).into() }).collect();
    assert_eq!(compile(source, context()).render(&messages, tail).unwrap(), expected);
}

#[test]
fn qwen25_style() {
    let expected = "<|im_start|>system\nBe of use.<|im_end|>\n<|im_start|>user\n2 < 3 & \"so\" {x}<|im_end|>\n<|im_start|>assistant\n";
    check(QWEN25_STYLE, &[("user", "2 < 3 & \"so\" {x}")], GenerationPrompt::Add, expected);
    let expected =
        "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nU<|im_end|>\n<|im_start|>assistant\nA<|im_end|>\n";
    check(QWEN25_STYLE, &[("system", "S"), ("user", "U"), ("assistant", "A")], GenerationPrompt::Omit, expected);
}

#[test]
fn llama3_style_falls_back_to_its_own_date() {
    let expected = "<|begin|><|start_header_id|>system<|end_header_id|>\n\nDay: 01 Jan 2024\n\nS<|eot_id|>\
                    <|start_header_id|>user<|end_header_id|>\n\nU<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n";
    check(LLAMA3_STYLE, &[("system", " S\n"), ("user", "U ")], GenerationPrompt::Add, expected);
}

#[test]
fn llama3_style_tells_a_given_date() {
    let date = "2025-02-03".parse().unwrap();
    let text = compile(LLAMA3_STYLE, context()).with_date(date).unwrap().prompt(None, "U").unwrap();
    assert!(text.contains("Day: 03 Feb 2025\n\n<|eot_id|>"), "{text}");
}

#[test]
fn refusals_carry_the_template_s_words() {
    let error =
        compile(LLAMA3_STYLE, context()).render(&[Message::user("U"), Message::system("S")], GenerationPrompt::Omit);
    let text = error.unwrap_err().to_string();
    assert!(text.contains("no role system") && text.contains("hint"), "{text}");
}

#[test]
fn an_unguarded_date_is_refused_with_advice() {
    let source = "{{ strftime_now('%Y') }}";
    let text = compile(source, context()).prompt(None, "U").unwrap_err().to_string();
    assert!(text.contains("fixed template date"), "{text}");
    let date = Some("2025-02-03".parse().unwrap());
    assert_eq!(compile(source, TemplateContext { date, ..context() }).prompt(None, "U").unwrap(), "2025");
}

#[test]
fn qwen3_style() {
    let turns = [
        ("user", "U"),
        ("assistant", "<think>\nt\n</think>\n\nA"),
        ("user", "V"),
        ("assistant", "<think>\nw\n</think>\n\nB"),
    ];
    let expected = "<|im_start|>user\nU<|im_end|>\n<|im_start|>assistant\nA<|im_end|>\n<|im_start|>user\nV<|im_end|>\n\
                    <|im_start|>assistant\n<think>\nw\n</think>\n\nB<|im_end|>\n";
    check(QWEN3_STYLE, &turns, GenerationPrompt::Omit, expected);
    let extra = [("enable_thinking".to_owned(), serde_json::json!(false))];
    let text = compile(QWEN3_STYLE, context()).with_variables(extra).prompt(Some("S"), "U").unwrap();
    assert_eq!(
        text,
        "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nU<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
    );
}

#[test]
fn smollm2_style() {
    let expected =
        "<|im_start|>system\nSmall but helpful<|im_end|>\n<|im_start|>user\nU\n<|im_end|>\n<|im_start|>assistant\n";
    check(SMOLLM2_STYLE, &[("user", "U\n")], GenerationPrompt::Add, expected);
}

#[test]
fn the_built_in_chatml_is_the_reference_s_prompt() {
    let instruction = "What is {x}?\nSay.";
    let made =
        ChatTemplate::chatml(context()).unwrap().prompt(Some(crate::item::reference::SYSTEM_PROMPT), instruction);
    assert_eq!(made.unwrap(), crate::item::reference::chatml_prompt(instruction));
}

#[test]
fn blocks_are_trimmed_as_transformers_does() {
    check("a\n  {% if true %}\nb\n  {% endif %}\nc", &[], GenerationPrompt::Omit, "a\nb\nc");
}

#[test]
fn loop_controls_and_python_methods_work() {
    let source = "{% for m in messages %}{% if m.role == 'user' %}{% continue %}{% endif %}{{ m.content.upper() }}{% break %}{% endfor %}\
                  {{ {'a': 1}.items() | list | length }}{{ 'x,y'.split(',')[1] }}";
    check(source, &[("user", "u"), ("assistant", "a"), ("assistant", "b")], GenerationPrompt::Omit, "A1y");
}

#[test]
fn tojson_writes_what_python_writes() {
    let render = |source: &str, value: serde_json::Value| {
        let extra = vec![("value".to_owned(), value)];
        compile(source, TemplateContext { extra, ..context() }).render(&[], GenerationPrompt::Omit).unwrap()
    };
    let value = serde_json::json!({"a": [1, 2.5, true, null], "b": "<é\"\n\u{1}>"});
    assert_eq!(
        render("{{ value | tojson }}", value.clone()),
        "{\"a\": [1, 2.5, true, null], \"b\": \"<é\\\"\\n\\u0001>\"}"
    );
    let wide = "{\n  \"a\": [\n    1,\n    2.5,\n    true,\n    null\n  ],\n  \"b\": \"<é\\\"\\n\\u0001>\"\n}";
    assert_eq!(render("{{ value | tojson(indent=2) }}", value), wide);
    assert_eq!(render("{{ value | tojson(indent=2) }}", serde_json::json!([])), "[]");
}

#[test]
fn broken_and_endless_templates_are_errors() {
    let broken = ChatTemplate::compile("{% if %}".into(), "chat_template.jinja".into(), context());
    assert!(broken.unwrap_err().to_string().contains("chat_template.jinja"));
    let nested = "{% for a in range(9999) %}{% for b in range(9999) %}{% for c in range(9999) %}{% endfor %}{% endfor %}{% endfor %}";
    assert!(compile(nested, context()).prompt(None, "U").unwrap_err().to_string().contains("does not end"));
}
