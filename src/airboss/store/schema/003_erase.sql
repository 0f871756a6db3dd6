-- Not empty: something was blanked that still stands in unused parts of the file, which is to be written anew.
create table rewrites_due (
    since timestamp not null -- UTC
);
