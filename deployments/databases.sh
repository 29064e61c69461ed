#!/bin/sh
# Makes a role and a database of its own for each of Prefect, MLflow and the ledger.
# PostgreSQL's image runs it once, when its volume is empty; passwords are taken from the environment.
set -eu

make_database() {
    psql --set ON_ERROR_STOP=1 --quiet --username postgres --dbname postgres --set role="$1" --set database="$2" <<SQL
\\getenv password $3
CREATE ROLE :"role" LOGIN PASSWORD :'password';
CREATE DATABASE :"database" OWNER :"role";
REVOKE ALL ON DATABASE :"database" FROM PUBLIC;
SQL
}

make_database prefect prefect PREFECT_PASSWORD
make_database mlflow mlflow MLFLOW_PASSWORD
make_database ledger contender_ledger LEDGER_PASSWORD
