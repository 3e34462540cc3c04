// Package e2e tests the program itself: a binary built from the sources around
// it, started as a process on real files, talked to over the network, killed,
// starved of disk and started again.
//
// The tests know two things. A host is an installation on disk: configuration,
// data directory, key folder. A server is one process that runs on it. What a
// server acknowledged, the host must hold, whatever became of the server.
//
// Flags, after -args: -seed repeats a run, -cycles sets how often the kill loop
// kills, -long adds what takes minutes.
package e2e
