package wire

import "errors"

// ErrIdle: the deadline passed and no frame had begun.
var ErrIdle = errors.New("no frame yet")
