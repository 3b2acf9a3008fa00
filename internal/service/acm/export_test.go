package acm

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/pbkdf2"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/pem"
	"testing"
)

// decrypt opens an encrypted key, as a reader of the standard does.
func decrypt(t *testing.T, text, passphrase string) string {
	t.Helper()
	block, _ := pem.Decode([]byte(text))
	if block == nil || block.Type != "ENCRYPTED PRIVATE KEY" {
		t.Fatalf("%q", text)
	}
	var k encryptedKey
	if rest, err := asn1.Unmarshal(block.Bytes, &k); err != nil || len(rest) > 0 {
		t.Fatalf("%v, %d bytes left", err, len(rest))
	}
	p := k.Algorithm.Parameters
	key, err := pbkdf2.Key(sha256.New, passphrase, p.KDF.Parameters.Salt, p.KDF.Parameters.Iterations, keySize)
	if err != nil {
		t.Fatal(err)
	}
	c, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	data := append([]byte(nil), k.Data...)
	cipher.NewCBCDecrypter(c, p.Cipher.IV).CryptBlocks(data, data)
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: data[:len(data)-int(data[len(data)-1])]}))
}
