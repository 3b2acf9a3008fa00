variable "ssh_key" {
  type = string
}

variable "certificate" {
  type = string
}

variable "private_key" {
  type      = string
  sensitive = true
}

variable "saml" {
  type = string
}
