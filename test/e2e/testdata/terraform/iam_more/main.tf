provider "aws" {}

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_billing_service_account" "main" {}

locals {
  trust = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Action    = "sts:AssumeRole"
      Effect    = "Allow"
      Sid       = ""
      Principal = { Service = "ec2.amazonaws.com" }
    }]
  })
  read = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Effect   = "Allow"
        Action   = var.revision > 1 ? ["logs:Get*", "logs:Describe*"] : ["logs:Get*"]
        Resource = "*"
      },
      {
        Sid       = "Tagged"
        Effect    = "Deny"
        NotAction = "logs:*"
        Resource  = "arn:${data.aws_partition.current.partition}:ecs:*:${data.aws_caller_identity.current.account_id}:cluster/*"
        Condition = {
          StringNotEqualsIfExists  = { "aws:ResourceTag/team" = ["$${aws:PrincipalTag/team, 'none'}"] }
          "ForAnyValue:StringLike" = { "aws:TagKeys" = "team*" }
          Bool                     = { "aws:SecureTransport" = false }
        }
      },
    ]
  })
}

# Roles

resource "aws_iam_role" "full" {
  name_prefix           = "tf-full-"
  path                  = "/more/"
  description           = "revision ${var.revision}"
  assume_role_policy    = local.trust
  force_detach_policies = true
  max_session_duration  = 3600 * var.revision
  permissions_boundary  = var.revision > 1 ? null : aws_iam_policy.boundary.arn
  tags                  = var.revision > 1 ? { Name = "full" } : { Name = "full", Old = "yes" }
}

resource "aws_iam_role" "inline" {
  name               = "tf-inline"
  assume_role_policy = local.trust

  inline_policy {
    name   = "read"
    policy = local.read
  }

  dynamic "inline_policy" {
    for_each = var.revision > 1 ? ["second"] : ["first"]
    content {
      name   = inline_policy.value
      policy = local.read
    }
  }

  managed_policy_arns = var.revision > 1 ? [aws_iam_policy.read.arn] : [aws_iam_policy.read.arn, data.aws_iam_policy.by_name.arn]
}

resource "aws_iam_role" "empty" {
  name               = "tf-empty"
  assume_role_policy = local.trust
  # None, and none may be added.
  inline_policy {}
}

resource "aws_iam_role_policy" "full" {
  name_prefix = "tf-"
  role        = aws_iam_role.full.id
  policy      = local.read
}

resource "aws_iam_role_policies_exclusive" "full" {
  role_name    = aws_iam_role.full.name
  policy_names = [aws_iam_role_policy.full.name]
}

resource "aws_iam_role_policy_attachment" "full" {
  role       = aws_iam_role.full.name
  policy_arn = aws_iam_policy.read.arn
}

resource "aws_iam_role_policy_attachments_exclusive" "full" {
  role_name   = aws_iam_role.full.name
  policy_arns = [aws_iam_role_policy_attachment.full.policy_arn]
}

resource "aws_iam_instance_profile" "full" {
  name_prefix = "tf-"
  path        = "/more/"
  role        = var.revision > 1 ? aws_iam_role.empty.name : aws_iam_role.full.name
}

# Policies

resource "aws_iam_policy" "read" {
  name_prefix = "tf-more-"
  path        = "/more/"
  policy      = local.read
}

resource "aws_iam_policy" "boundary" {
  name   = "tf-boundary"
  policy = local.read
  tags   = { Revision = var.revision }
}

resource "aws_iam_policy" "everywhere" {
  name   = "tf-everywhere"
  policy = local.read
}

resource "aws_iam_policy_attachment" "everywhere" {
  name       = "everywhere"
  policy_arn = aws_iam_policy.everywhere.arn
  users      = [aws_iam_user.keys.name]
  groups     = var.revision > 1 ? [] : [aws_iam_group.more.name]
  roles      = [aws_iam_role.empty.name]
}

# Users

resource "aws_iam_user" "more" {
  name                 = var.revision > 1 ? "tf-renamed-user" : "tf-user"
  path                 = "/more/"
  permissions_boundary = aws_iam_policy.boundary.arn
  force_destroy        = true
}

resource "aws_iam_user_ssh_key" "more" {
  username   = aws_iam_user.keys.name
  encoding   = "SSH"
  public_key = var.ssh_key
  status     = var.revision > 1 ? "Inactive" : "Active"
}

resource "aws_iam_user" "keys" {
  name          = "tf-keys"
  force_destroy = true
}

resource "aws_iam_user_policies_exclusive" "keys" {
  user_name    = aws_iam_user.keys.name
  policy_names = []
}

resource "aws_iam_group" "more" {
  name = "tf-more"
  path = var.revision > 1 ? "/other/" : "/more/"
}

resource "aws_iam_group_policies_exclusive" "more" {
  group_name   = aws_iam_group.more.name
  policy_names = []
}

resource "aws_iam_virtual_mfa_device" "phone" {
  virtual_mfa_device_name = "tf-phone"
  path                    = "/more/"
  tags                    = { Revision = var.revision }
}

# The account

resource "aws_iam_account_alias" "main" {
  account_alias = "tf-account-${var.revision}"
}

resource "aws_iam_account_password_policy" "strict" {
  minimum_password_length        = 10 + var.revision
  require_lowercase_characters   = true
  require_numbers                = true
  require_uppercase_characters   = true
  require_symbols                = true
  allow_users_to_change_password = true
  max_password_age               = var.revision > 1 ? 90 : null
  password_reuse_prevention      = 5
}

resource "aws_iam_server_certificate" "www" {
  name             = "tf-www-${var.revision}"
  path             = "/more/"
  certificate_body = var.certificate
  private_key      = var.private_key
  tags             = { Name = "www" }

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_iam_saml_provider" "corp" {
  name                   = "tf-corp"
  saml_metadata_document = var.saml
  tags                   = { Revision = var.revision }
}

resource "aws_iam_openid_connect_provider" "ci" {
  url             = "https://oidc.more.example.com/path"
  client_id_list  = var.revision > 1 ? ["b.example.com", "c.example.com"] : ["a.example.com", "b.example.com"]
  thumbprint_list = var.revision > 1 ? ["990f4193972f2becf12ddeda5237f9c952f20d9e", "1111111111111111111111111111111111111111"] : ["990f4193972f2becf12ddeda5237f9c952f20d9e"]
  tags            = { Revision = var.revision }
}

resource "aws_iam_service_linked_role" "autoscaling" {
  aws_service_name = "autoscaling.amazonaws.com"
  custom_suffix    = "tf"
  description      = "revision ${var.revision}"
  tags             = { Revision = var.revision }
}

# Lookups

data "aws_iam_policy" "by_name" {
  name = "AmazonECSTaskExecutionRolePolicy"
}

data "aws_iam_policy" "by_arn" {
  arn        = aws_iam_policy.read.arn
  depends_on = [aws_iam_policy.read]
}

data "aws_iam_roles" "more" {
  path_prefix = "/more/"
  name_regex  = "tf-full-.*"
  depends_on  = [aws_iam_role.full]
}

data "aws_iam_user" "more" {
  user_name = aws_iam_user.more.name
}

data "aws_iam_users" "more" {
  path_prefix = "/more/"
  depends_on  = [aws_iam_user.more]
}

data "aws_iam_group" "more" {
  group_name = aws_iam_group.more.name
}

data "aws_iam_instance_profile" "full" {
  name = aws_iam_instance_profile.full.name
}

data "aws_iam_instance_profiles" "full" {
  role_name  = aws_iam_instance_profile.full.role
  depends_on = [aws_iam_instance_profile.full]
}

data "aws_iam_account_alias" "main" {
  depends_on = [aws_iam_account_alias.main]
}

data "aws_iam_openid_connect_provider" "ci" {
  arn = aws_iam_openid_connect_provider.ci.arn
}

data "aws_iam_saml_provider" "corp" {
  arn = aws_iam_saml_provider.corp.arn
}

data "aws_iam_server_certificate" "www" {
  name   = aws_iam_server_certificate.www.name
  latest = true
}

data "aws_iam_access_keys" "more" {
  user = aws_iam_user.more.name
}

data "aws_iam_user_ssh_key" "more" {
  encoding          = "PEM"
  username          = aws_iam_user.keys.name
  ssh_public_key_id = aws_iam_user_ssh_key.more.ssh_public_key_id
}

data "aws_iam_principal_policy_simulation" "read" {
  action_names      = ["logs:GetLogEvents"]
  policy_source_arn = aws_iam_role.inline.arn
  depends_on        = [aws_iam_role.inline]
}

data "aws_iam_session_context" "session" {
  arn = "arn:aws:sts::${data.aws_caller_identity.current.account_id}:assumed-role/${aws_iam_role.full.name}/me"
}

output "lookups" {
  value = join(" ", [
    data.aws_iam_policy.by_name.path, data.aws_iam_policy.by_arn.path,
    tostring(length(data.aws_iam_roles.more.names)), data.aws_iam_user.more.path, tostring(length(data.aws_iam_users.more.names)),
    data.aws_iam_group.more.path, data.aws_iam_instance_profile.full.path, tostring(length(data.aws_iam_instance_profiles.full.names)),
    data.aws_iam_account_alias.main.account_alias, tostring(length(data.aws_iam_openid_connect_provider.ci.client_id_list)),
    data.aws_iam_server_certificate.www.path, tostring(data.aws_iam_principal_policy_simulation.read.all_allowed),
    tostring(data.aws_iam_session_context.session.issuer_arn == aws_iam_role.full.arn),
  ])
}
