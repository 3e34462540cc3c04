policy "../up" {
}

policy "" {
}

policy "deploy" {
}

policy "Deploy" {
}

policy "a b" {
}
