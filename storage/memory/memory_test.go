package memory_test

import (
	"testing"

	"github.com/heroctl/heroctl/storage"
	"github.com/heroctl/heroctl/storage/memory"
	"github.com/heroctl/heroctl/storage/storagetest"
)

func TestContract(t *testing.T) {
	storagetest.Run(t, func(*testing.T) storage.KV { return memory.New() })
}
