provider "aws" {}

data "aws_caller_identity" "current" {}

data "aws_iam_policy_document" "trust" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = var.revision > 1 ? ["ecs-tasks.amazonaws.com", "ec2.amazonaws.com"] : ["ecs-tasks.amazonaws.com"]
    }
  }
}

data "aws_iam_policy_document" "read" {
  statement {
    sid       = "Read"
    actions   = ["logs:GetLogEvents", "logs:DescribeLogStreams"]
    resources = ["arn:aws:logs:*:${data.aws_caller_identity.current.account_id}:log-group:/app/*"]
    condition {
      test     = "StringEquals"
      variable = "aws:RequestedRegion"
      values   = ["us-east-1"]
    }
  }

  dynamic "statement" {
    for_each = var.revision > 1 ? [1] : []
    content {
      sid       = "NoDelete"
      effect    = "Deny"
      actions   = ["logs:Delete*"]
      resources = ["*"]
    }
  }
}

resource "aws_iam_role" "task" {
  name               = "tf-task"
  path               = "/app/"
  description        = "revision ${var.revision}"
  assume_role_policy = data.aws_iam_policy_document.trust.json

  max_session_duration = 7200

  tags = {
    Revision = var.revision
  }
}

resource "aws_iam_policy" "read" {
  name        = "tf-read"
  description = "reads logs"
  policy      = data.aws_iam_policy_document.read.json

  tags = {
    Name = "read"
  }
}

resource "aws_iam_role_policy_attachment" "read" {
  role       = aws_iam_role.task.name
  policy_arn = aws_iam_policy.read.arn
}

resource "aws_iam_role_policy_attachment" "execution" {
  role       = aws_iam_role.task.name
  policy_arn = data.aws_iam_policy.execution.arn
}

data "aws_iam_policy" "execution" {
  arn = "arn:aws:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy"
}

resource "aws_iam_role_policy" "inline" {
  name = "inline"
  role = aws_iam_role.task.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect   = "Allow"
      Action   = var.revision > 1 ? ["ecr:GetAuthorizationToken", "ecr:BatchGetImage"] : ["ecr:GetAuthorizationToken"]
      Resource = "*"
    }]
  })
}

resource "aws_iam_instance_profile" "task" {
  name = "tf-task"
  role = aws_iam_role.task.name

  tags = {
    Revision = var.revision
  }
}

resource "aws_iam_user" "deployer" {
  name          = "tf-deployer"
  path          = "/people/"
  force_destroy = true

  tags = {
    Revision = var.revision
  }
}

resource "aws_iam_access_key" "deployer" {
  user   = aws_iam_user.deployer.name
  status = var.revision > 1 ? "Inactive" : "Active"
}

resource "aws_iam_user_policy" "deployer" {
  name   = "read"
  user   = aws_iam_user.deployer.name
  policy = data.aws_iam_policy_document.read.json
}

resource "aws_iam_user_policy_attachment" "deployer" {
  user       = aws_iam_user.deployer.name
  policy_arn = aws_iam_policy.read.arn
}

resource "aws_iam_user_login_profile" "deployer" {
  user            = aws_iam_user.deployer.name
  password_length = 24
}

resource "aws_iam_group" "people" {
  name = "tf-people"
  path = "/people/"
}

resource "aws_iam_group_membership" "people" {
  name  = "people"
  group = aws_iam_group.people.name
  users = [aws_iam_user.deployer.name]
}

resource "aws_iam_user_group_membership" "more" {
  user   = aws_iam_user.deployer.name
  groups = [aws_iam_group.more.name]
}

resource "aws_iam_group" "more" {
  name = var.revision > 1 ? "tf-renamed" : "tf-more"
}

resource "aws_iam_group_policy" "people" {
  name   = "read"
  group  = aws_iam_group.people.name
  policy = data.aws_iam_policy_document.read.json
}

resource "aws_iam_group_policy_attachment" "people" {
  group      = aws_iam_group.people.name
  policy_arn = aws_iam_policy.read.arn
}

resource "aws_iam_openid_connect_provider" "ci" {
  url             = "https://token.example.com"
  client_id_list  = ["sts.amazonaws.com"]
  thumbprint_list = ["990f4193972f2becf12ddeda5237f9c952f20d9e"]
}

resource "aws_iam_service_linked_role" "ecs" {
  aws_service_name = "ecs.application-autoscaling.amazonaws.com"
}

data "aws_iam_role" "task" {
  name       = aws_iam_role.task.name
  depends_on = [aws_iam_role.task]
}

data "aws_iam_session_context" "current" {
  arn = data.aws_caller_identity.current.arn
}

output "role" {
  value = data.aws_iam_role.task.arn
}
