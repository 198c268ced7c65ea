package wire

import "bytes"

// Load makes the head the lines in block, which it borrows: what AppendTo has written of a head that was scanned or built, kept
// somewhere meanwhile. Nothing is proven again, so the lines must not have been in anybody else's hands.
func (h *Head) Load(block []byte) {
	h.Reset()
	h.block = block
	for at := 0; at < len(block); {
		end := at + bytes.IndexByte(block[at:], '\n') + 1
		name := bytes.IndexByte(block[at:end], ':')
		if name < 1 || end-at < name+len(":\r\n") {
			panic("BUG: a head was kept that is not one")
		}
		start, stop := at+name+1, end-len("\r\n")
		for start < stop && (block[start] == ' ' || block[start] == '\t') {
			start++
		}
		for stop > start && (block[stop-1] == ' ' || block[stop-1] == '\t') {
			stop--
		}
		k := identify(block[at : at+name])
		h.seen |= 1 << k
		h.fields = append(h.fields, field{
			start: uint32(at), end: uint32(end), valueStart: uint32(start), valueEnd: uint32(stop), nameLen: uint16(name), known: k,
		})
		at = end
	}
}
