package proxy

// parts of a table of one kind: those that are wanted, by how many, and those
// that the table has.
type parts[K comparable, V any] struct {
	same    func(a, b V) bool // nil: the key says what is in it
	want    map[K]V
	uses    map[K]int
	have    map[K]V
	touched map[K]bool
}

func newParts[K comparable, V any](same func(a, b V) bool) *parts[K, V] {
	if same == nil {
		same = func(V, V) bool { return true }
	}
	return &parts[K, V]{same: same, want: map[K]V{}, uses: map[K]int{}, have: map[K]V{}, touched: map[K]bool{}}
}

// count one more user of k, or one less.
func (p *parts[K, V]) count(k K, v V, more bool) {
	if more {
		p.uses[k]++
		p.set(k, v)
		return
	}
	if p.uses[k]--; p.uses[k] == 0 {
		delete(p.uses, k)
		p.unset(k)
	}
}

func (p *parts[K, V]) set(k K, v V) {
	p.want[k] = v
	p.touched[k] = true
}

func (p *parts[K, V]) unset(k K) {
	delete(p.want, k)
	p.touched[k] = true
}

// changes between what the table has and what is wanted. One that became
// another is in both.
func (p *parts[K, V]) changes() (add, remove map[K]V) {
	add, remove = map[K]V{}, map[K]V{}
	for k := range p.touched {
		want, wanted := p.want[k]
		have, had := p.have[k]
		if wanted && had && p.same(want, have) {
			continue
		}
		if wanted {
			add[k] = want
		}
		if had {
			remove[k] = have
		}
	}
	return add, remove
}

func (p *parts[K, V]) changed() bool {
	add, remove := p.changes()
	return len(add)+len(remove) > 0
}

func (p *parts[K, V]) commit() {
	for k := range p.touched {
		if v, ok := p.want[k]; ok {
			p.have[k] = v
		} else {
			delete(p.have, k)
		}
	}
	p.touched = map[K]bool{}
}

func (p *parts[K, V]) forget() {
	p.have, p.touched = map[K]V{}, map[K]bool{}
	for k := range p.want {
		p.touched[k] = true
	}
}
