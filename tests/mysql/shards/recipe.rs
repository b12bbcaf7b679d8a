//! The recipe of the cookbook, followed to the letter on four real servers: its statements and its urls are read
//! from there.

use std::collections::BTreeMap;

use keyward::{ErrorKind, Lease, Locks, Released};

use super::cluster::connect;
use crate::{
    clients::SOON,
    server::{Kind, Server},
};

const COOKBOOK: &str = include_str!("../../../docs/cookbook.md");

/// The blocks of a language in the recipe.
fn blocks(language: &str) -> Vec<&'static str> {
    let (_, recipe) = COOKBOOK.split_once("## Several servers").expect("the recipe");
    let recipe = recipe.split("\n## ").next().unwrap();
    let begin = format!("```{language}\n");
    recipe.split(&*begin).skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

/// What an administrator does first.
async fn prepare(server: &Server) {
    for statement in blocks("sql")[0].lines() {
        server.query(statement).await;
    }
}

struct Recipe {
    servers: [Server; 4],
    urls: Vec<&'static str>,
    tokens: BTreeMap<String, u64>,
}

impl Recipe {
    /// With real addresses, and a `ttl` that a test can wait for.
    fn url(&self, generation: usize) -> String {
        let mut url = self.urls[generation - 1].to_owned();
        assert!(url.contains(&format!("generation={generation}&")), "{url}");
        for (i, server) in self.servers.iter().enumerate() {
            url = url.replace(&format!("db{}", i + 1), &format!("127.0.0.1:{}", server.port()));
        }
        url + "&ttl=3&connect_timeout=2"
    }

    /// Each name can be had, with a token that is larger than the last one.
    async fn all_can_be_had(&mut self, locks: &Locks) {
        for i in 0..30 {
            let name = format!("name{i}");
            let lease = locks.lock_named(&*name).timeout(SOON).await.unwrap();
            let token = lease.fencing_token().unwrap().get();
            let last = self.tokens.insert(name, token).unwrap_or_default();
            assert!(token > last, "{token} after {last}");
            assert_eq!(lease.release().await.unwrap(), Released::Released);
        }
    }

    /// Processes of the last generation are replaced, while both are at work.
    async fn roll(&mut self, old: Locks, generation: usize) -> Locks {
        let held: Vec<_> = (0..30).map(|i| format!("held{i}")).collect();
        let leases = old.lock_all(held.clone()).await.unwrap();
        let new = connect(self.url(generation)).await;
        self.all_can_be_had(&new).await;
        self.all_can_be_had(&old).await;
        self.all_can_be_had(&new).await;
        for name in held {
            let error = new.try_lock_named(name).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}");
        }
        leases.ensure_held().await.unwrap();
        assert_eq!(leases.release().await.unwrap(), Released::Released);
        old.close().await;
        println!("generation {generation} is in use");
        new
    }

    async fn settled(&self, server: usize) -> String {
        let select = blocks("sql")[1].trim().trim_end_matches(';');
        let [columns, table] =
            ["SELECT generation, layout, telling, ttl, since", "locks.keyward_shards"];
        assert_eq!(select, format!("{columns} FROM {table}"));
        let row = format!("SELECT CONCAT(generation, ' ', telling = '') FROM {table}");
        self.servers[server].scalar(&row).await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_works_as_it_is_written() {
    let start = || std::thread::spawn(|| Server::start(Kind::mariadb()));
    let servers = [start(), start(), start(), start()].map(|server| server.join().unwrap());
    for server in &servers {
        prepare(server).await;
    }
    let urls = blocks("text").iter().flat_map(|block| block.lines()).collect();
    let mut recipe = Recipe { servers, urls, tokens: BTreeMap::new() };
    assert_eq!(recipe.urls.len(), 7);
    let mut locks = connect(recipe.url(1)).await;
    recipe.all_can_be_had(&locks).await;
    for generation in 2..=5 {
        locks = recipe.roll(locks, generation).await;
    }
    assert_eq!(recipe.settled(0).await, "5 1");
    recipe.servers[1].kill();
    recipe.all_can_be_had(&locks).await;
    assert_eq!(locks.capability().warnings, Vec::<String>::new());

    // An empty server in the place of one whose disk is lost.
    recipe.servers[2].query("DROP DATABASE locks").await;
    recipe.servers[2].query("DROP USER app").await;
    recipe.servers[2].restart();
    prepare(&recipe.servers[2]).await;
    drop(connect(recipe.url(5)).await);
    recipe.all_can_be_had(&locks).await;

    recipe.servers[2].kill();
    let leases: Vec<Lease> = recipe.some_that_live(&locks).await;
    let new = connect(recipe.url(6)).await;
    recipe.all_can_be_had(&new).await;
    for lease in leases {
        assert_eq!(lease.release().await.unwrap(), Released::Released);
    }
    locks.close().await;
    let last = recipe.roll(new, 7).await;
    recipe.all_can_be_had(&last).await;
    assert_eq!(recipe.settled(0).await, "7 1");
    assert_eq!(last.capability().warnings, Vec::<String>::new());
}

impl Recipe {
    /// Of names that are not on the server that has died.
    async fn some_that_live(&self, locks: &Locks) -> Vec<Lease> {
        let mut leases = Vec::new();
        for i in 0..30 {
            match locks.try_lock_named(format!("lives{i}")).await {
                Ok(lease) => leases.push(lease),
                Err(e) => assert_eq!(e.kind(), ErrorKind::Unavailable, "{e}"),
            }
        }
        assert!((5..30).contains(&leases.len()), "{}", leases.len());
        leases
    }
}
