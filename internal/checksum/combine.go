package checksum

import "hash/crc32"

// polynomials of the CRCs, bits reversed, and their widths.
var polynomials = map[string]struct {
	polynomial uint64
	bits       int
}{
	CRC32:     {crc32.IEEE, 32},
	CRC32C:    {crc32.Castagnoli, 32},
	CRC64NVME: {0x9a6c9329ac4bc9b5, 64},
}

// Combinable tells whether Combine knows the algorithm.
func Combinable(algorithm string) bool { return polynomials[algorithm].bits > 0 }

// Combine is the CRC of two texts, one behind the other, by their own CRCs
// (big-endian, as Sum writes them) and the length of the second.
func Combine(algorithm string, first, second []byte, length int64) []byte {
	p := polynomials[algorithm]
	sum := number(first)
	// Behind the first text come length bytes: its CRC is multiplied by x to the
	// power of their bits. square is the matrix that multiplies by x, then by its
	// square, and so on.
	square := make([]uint64, p.bits)
	square[0] = p.polynomial
	for i := 1; i < p.bits; i++ {
		square[i] = 1 << (i - 1)
	}
	for bits := uint64(length) * 8; bits > 0; bits >>= 1 {
		if bits&1 == 1 {
			sum = times(square, sum)
		}
		next := make([]uint64, p.bits)
		for i := range next {
			next[i] = times(square, square[i])
		}
		square = next
	}
	sum ^= number(second)
	out := make([]byte, p.bits/8)
	for i := range out {
		out[i] = byte(sum >> (p.bits - 8 - 8*i))
	}
	return out
}

// times multiplies a vector of bits by a matrix, whose columns are given.
func times(matrix []uint64, vector uint64) uint64 {
	var out uint64
	for i := 0; vector != 0; i, vector = i+1, vector>>1 {
		if vector&1 == 1 {
			out ^= matrix[i]
		}
	}
	return out
}

func number(b []byte) uint64 {
	var n uint64
	for _, c := range b {
		n = n<<8 | uint64(c)
	}
	return n
}
