package model

import "errors"

// ErrName is a name that no record can have: empty, too long, or with a zero
// byte in it. It comes of what a caller sent, where no constraint of AWS's model says
// what a name may hold; the gateway answers it as an invalid parameter.
var ErrName = errors.New("a name that nothing can have")
