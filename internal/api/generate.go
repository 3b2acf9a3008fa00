package api

//go:generate go run roadstead.dev/internal/apigen/cmd -root ../..
