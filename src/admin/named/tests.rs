use super::*;

#[test]
fn a_containers_name_stands_for_its_one_instance_and_several_are_a_choice() {
    let ask = |id: &str, names: &[&str]| {
        let names = names.iter().map(|name| name.parse().unwrap());
        match choose(id.parse().unwrap(), names) {
            Named::One(id) => id.to_string(),
            Named::Several(several) => {
                let several: Vec<_> = several.iter().map(ToString::to_string).collect();
                several.join(" or ")
            }
        }
    };
    let names = [
        "h1:web1",
        "h2:web2",
        "h2:web3",
        "h1:web3",
        "h1:db:5432",
        "10.0.0.5:8080",
    ];
    assert_eq!(ask("s/web1", &names), "s/h1:web1");
    assert_eq!(ask("s/db", &names), "s/h1:db:5432");
    assert_eq!(ask("s/web3", &names), "s/h2:web3 or s/h1:web3");
    // Nothing is called so yet, or any more.
    assert_eq!(ask("s/web9", &names), "s/web9");
    // That is an address, and no container is called 8080.
    assert_eq!(ask("s/8080", &names), "s/8080");
}
