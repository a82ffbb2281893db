//! The sources that dlt's documentation shows (`rest_api` tutorial and basic usage), in the same words.

use super::*;
use crate::spec::{Action, ResponseAction, WriteDisposition};

#[test]
fn github_issues_with_comments() {
    let client = Client::new("https://api.github.com/repos/dlt-hub/dlt/".parse().unwrap());
    let per_page = ("per_page".to_owned(), "100".to_owned());
    let issues = Resource {
        params: vec![
            per_page.clone(),
            ("sort".to_owned(), "updated".to_owned()),
            ("direction".to_owned(), "desc".to_owned()),
            ("state".to_owned(), "open".to_owned()),
            ("since".to_owned(), "{incremental.start_value}".to_owned()),
        ],
        incremental: Some(Incremental {
            start_param: None,
            ..incremental("updated_at", json!("2024-01-25T11:21:28Z"))
        }),
        primary_key: vec!["id".to_owned()],
        write_disposition: WriteDisposition::Merge,
        ..Resource::new("issues", "issues")
    };
    let comments = Resource {
        params: vec![per_page],
        include_from_parent: vec!["id".to_owned()],
        ..Resource::new("issue_comments", "issues/{resources.issues.number}/comments")
    };
    let plan = Plan::compile(&client, &Crawl::new("github", vec![issues, comments])).unwrap();
    let task = root(&plan);
    assert_eq!(
        url(&plan, &task),
        "https://api.github.com/repos/dlt-hub/dlt/issues?per_page=100&sort=updated&direction=desc&state=open&since=2024-01-25T11%3A21%3A28Z"
    );
    let next = "<https://api.github.com/repositories/452221115/issues?per_page=100&page=2>; rel=\"next\", \
                <https://api.github.com/repositories/452221115/issues?per_page=100&page=9>; rel=\"last\"";
    let body = json!([{"id": 21, "number": 7, "updated_at": "2024-02-01T00:00:00Z"}]);
    let issues = data(plan.read(&task, &run(), &raw(200, &[("link", next)], body.to_string().as_bytes())));
    assert_eq!(
        url(&plan, issues.next.as_ref().unwrap()),
        "https://api.github.com/repositories/452221115/issues?per_page=100&page=2"
    );
    assert_eq!(issues.largest, Some(json!("2024-02-01T00:00:00Z")));
    let below = &issues.children[0];
    assert_eq!(url(&plan, below), "https://api.github.com/repos/dlt-hub/dlt/issues/7/comments?per_page=100");
    let comments = page(&plan, below, &json!([{"id": 5}]));
    assert_eq!(comments.items, [json!({"id": 5, "_issues_id": 21})]);
    assert_eq!(comments.next, None);
}

#[test]
fn pokemon_and_their_details() {
    let client = Client::new("https://pokeapi.co/api/v2/".parse().unwrap());
    let list =
        Resource { params: vec![("limit".to_owned(), "1000".to_owned())], ..Resource::new("pokemon", "pokemon") };
    let resources = vec![
        list,
        Resource::new("by_name", "pokemon/{resources.pokemon.name}"),
        Resource::new("by_url", "{resources.pokemon.url}"),
    ];
    let plan = Plan::compile(&client, &Crawl::new("pokemon", resources)).unwrap();
    let first = page(
        &plan,
        &root(&plan),
        &json!({
            "count": 1302,
            "next": "https://pokeapi.co/api/v2/pokemon?offset=1000&limit=302",
            "previous": null,
            "results": [{"name": "bulbasaur", "url": "https://pokeapi.co/api/v2/pokemon/1/"}],
        }),
    );
    assert_eq!(first.items.len(), 1);
    assert_eq!(url(&plan, first.next.as_ref().unwrap()), "https://pokeapi.co/api/v2/pokemon?offset=1000&limit=302");
    let below: Vec<_> = first.children.iter().map(|task| url(&plan, task)).collect();
    assert_eq!(below, ["https://pokeapi.co/api/v2/pokemon/bulbasaur", "https://pokeapi.co/api/v2/pokemon/1/"]);
    let one = page(&plan, &first.children[0], &json!({"id": 1, "abilities": [{"slot": 1}], "moves": []}));
    assert_eq!(one.items.len(), 1);
    let last = page(
        &plan,
        first.next.as_ref().unwrap(),
        &json!({"count": 1302, "next": null, "results": [{"name": "x", "url": "/"}]}),
    );
    assert_eq!(last.next, None);
}

#[test]
fn posts_whose_comments_may_be_gone() {
    let comments = Resource {
        data_selector: Some("data.comments".to_owned()),
        response_actions: vec![
            ResponseAction { status_code: Some(404), content: None, action: Action::Ignore },
            ResponseAction { status_code: None, content: Some("Not found".to_owned()), action: Action::Ignore },
        ],
        ..Resource::new("comments", "posts/{resources.posts.id}/comments")
    };
    let plan = plan_of(vec![Resource::new("posts", "posts"), comments]);
    let posts = page(&plan, &root(&plan), &json!({"data": [{"id": 0}, {"id": 1}]}));
    let [first, second] = posts.children.as_slice() else { panic!() };
    assert_eq!(plan.read(first, &run(), &raw(404, &[], b"{}")), Read::Ignored { status: 404 });
    assert_eq!(plan.read(first, &run(), &raw(200, &[], b"Not found")), Read::Ignored { status: 200 });
    assert_eq!(page(&plan, second, &json!({"data": {"comments": [{"id": 9}]}})).items, [json!({"id": 9})]);
}

#[test]
fn a_search_with_its_cursor_in_the_body() {
    let search = Resource {
        method: crate::Method::Post,
        body: Some(json!({"query": {"status": "{params.status}"}, "page_size": 2})),
        data_selector: Some("results".to_owned()),
        paginator: Some(Paginator::Cursor {
            cursor_path: Some("next_cursor".to_owned()),
            cursor_header: None,
            cursor_param: None,
            cursor_body_path: Some("start_cursor".to_owned()),
            has_more_path: Some("has_more".to_owned()),
        }),
        ..Resource::new("search", "/search")
    };
    let crawl = Crawl { params: vec![("status".to_owned(), "open".to_owned())], ..Crawl::new("test", vec![search]) };
    let plan = plan(&crawl);
    let first =
        page(&plan, &root(&plan), &json!({"results": [{"id": 1}, {"id": 2}], "has_more": true, "next_cursor": "c2"}));
    let request = plan.request(first.next.as_ref().unwrap(), &run()).unwrap();
    let body: Value = serde_json::from_slice(&request.body).unwrap();
    assert_eq!(body, json!({"query": {"status": "open"}, "page_size": 2, "start_cursor": "c2"}));
    let last = page(
        &plan,
        first.next.as_ref().unwrap(),
        &json!({"results": [{"id": 3}], "has_more": false, "next_cursor": null}),
    );
    assert_eq!(last.next, None);
}
