-- Anybody can write any app's id into a token's text. What the text of the token in force says stands apart from what a hello has proven;
-- which of the ids known so far are proven nobody can tell, so every app's next hello tells it again.
alter table apps add column named_app_id text;
update apps set named_app_id = slack_app_id, slack_app_id = null;
