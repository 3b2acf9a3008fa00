# Shared by all cases: the test copies it beside each one's files. Endpoint,
# region and keys come from the environment, as `roadstead env` prints them.
terraform {
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.0"
    }
  }
}

# The test applies twice, the second time with revision 2: what depends on it
# changes in place.
variable "revision" {
  type    = number
  default = 1
}
