// Checks a log in a folder with golang.org/x/mod/sumdb: verify FOLDER KEYS
//
// KEYS has a line for each verifier key; the first is the log's. The program prints "log SIZE, WITNESSES witnesses", or says
// what is wrong and exits with 1.
package main

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// cosignature is a verifier of cosignature/v1: it signs a time and the note's text.
type cosignature struct {
	name string
	hash uint32
	key  ed25519.PublicKey
}

func (c cosignature) Name() string    { return c.name }
func (c cosignature) KeyHash() uint32 { return c.hash }
func (c cosignature) Verify(text, signature []byte) bool {
	if len(signature) != 8+ed25519.SignatureSize {
		return false
	}
	time := binary.BigEndian.Uint64(signature)
	message := append([]byte(fmt.Sprintf("cosignature/v1\ntime %d\n", time)), text...)
	return ed25519.Verify(c.key, message, signature[8:])
}

func verifier(key string) note.Verifier {
	if known, err := note.NewVerifier(key); err == nil {
		return known
	}
	parts := strings.SplitN(key, "+", 3)
	if len(parts) != 3 {
		fail("a key that is none: %s", key)
	}
	hash, err := strconv.ParseUint(parts[1], 16, 32)
	if err != nil {
		fail("%s: %v", key, err)
	}
	raw, err := base64.StdEncoding.DecodeString(parts[2])
	if err != nil || len(raw) != 1+ed25519.PublicKeySize || raw[0] != 4 {
		fail("a key of another kind: %s", key)
	}
	return cosignature{parts[0], uint32(hash), raw[1:]}
}

// tiles reads the folder's tiles: C2SP leaves the height out of their paths.
type tiles struct{ folder string }

func (t tiles) Height() int { return 8 }

func (t tiles) ReadTiles(wanted []tlog.Tile) ([][]byte, error) {
	var all [][]byte
	for _, tile := range wanted {
		path := strings.Replace(tile.Path(), "tile/8/", "tile/", 1)
		data, err := os.ReadFile(filepath.Join(t.folder, path))
		if err != nil {
			return nil, err
		}
		all = append(all, data)
	}
	return all, nil
}

func (t tiles) SaveTiles([]tlog.Tile, [][]byte) {}

func fail(format string, args ...interface{}) {
	fmt.Printf(format+"\n", args...)
	os.Exit(1)
}

func main() {
	folder := os.Args[1]
	text, err := os.ReadFile(os.Args[2])
	if err != nil {
		fail("%v", err)
	}
	var verifiers []note.Verifier
	for _, key := range strings.Fields(string(text)) {
		verifiers = append(verifiers, verifier(key))
	}
	signed, err := os.ReadFile(filepath.Join(folder, "checkpoint"))
	if err != nil {
		fail("%v", err)
	}
	opened, err := note.Open(signed, note.VerifierList(verifiers...))
	if err != nil {
		fail("checkpoint: %v", err)
	}
	log, witnesses := false, 0
	for _, by := range opened.Sigs {
		if by.Name == verifiers[0].Name() {
			log = true
		} else {
			witnesses++
		}
	}
	lines := strings.Split(opened.Text, "\n")
	if !log || len(lines) != 4 || lines[0] != verifiers[0].Name() {
		fail("checkpoint: not signed by its log")
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil {
		fail("checkpoint: %v", err)
	}
	root, err := tlog.ParseHash(lines[2])
	if err != nil {
		fail("checkpoint: %v", err)
	}
	tree := tlog.Tree{N: size, Hash: root}
	reader := tlog.TileHashReader(tree, tiles{folder})
	var hashes []tlog.Hash
	for index := int64(0); index*256 < size; index++ {
		width := size - index*256
		tile := tlog.Tile{H: 8, L: 0, N: index, W: 256}
		if width < 256 {
			tile.W = int(width)
		}
		path := strings.Replace(tile.Path(), "tile/8/0/", "tile/entries/", 1)
		bundle, err := os.ReadFile(filepath.Join(folder, path))
		if err != nil {
			fail("entries: %v", err)
		}
		for number := 0; number < tile.W; number++ {
			if len(bundle) < 2 || len(bundle) < 2+int(binary.BigEndian.Uint16(bundle)) {
				fail("%s: ends early", path)
			}
			length := int(binary.BigEndian.Uint16(bundle))
			hashes = append(hashes, tlog.RecordHash(bundle[2:2+length]))
			bundle = bundle[2+length:]
		}
		if len(bundle) != 0 {
			fail("%s: has more than its entries", path)
		}
	}
	// Each entry's own hash is the one that the tiles prove.
	for from := 0; from < len(hashes); from += 256 {
		var indexes []int64
		for number := from; number < from+256 && number < len(hashes); number++ {
			indexes = append(indexes, tlog.StoredHashIndex(0, int64(number)))
		}
		proved, err := reader.ReadHashes(indexes)
		if err != nil {
			fail("tiles: %v", err)
		}
		for place, hash := range proved {
			if !bytes.Equal(hash[:], hashes[from+place][:]) {
				fail("entry %d is not the one that was logged", from+place)
			}
		}
	}
	// Proofs of entries, and of the tree continuing earlier ones.
	for number := int64(0); number < size; number += 1 + size/50 {
		proof, err := tlog.ProveRecord(size, number, reader)
		if err != nil {
			fail("entry %d: %v", number, err)
		}
		if err := tlog.CheckRecord(proof, size, root, number, hashes[number]); err != nil {
			fail("entry %d: %v", number, err)
		}
		if number == 0 {
			continue
		}
		before, err := tlog.TreeHash(number, reader)
		if err != nil {
			fail("%v", err)
		}
		continues, err := tlog.ProveTree(size, number, reader)
		if err != nil {
			fail("%v", err)
		}
		if err := tlog.CheckTree(continues, size, root, number, before); err != nil {
			fail("the tree does not continue that of %d entries: %v", number, err)
		}
	}
	fmt.Printf("log of %d entries, %d witnesses\n", size, witnesses)
}
