// SPDX-License-Identifier: MIT
#pragma once
#include <nlohmann/json_fwd.hpp>

#include "kvviz/report/result.hpp"

namespace kvviz {

/// The summary and the tables of a result in little space, for files of records: what provenance, figures and
/// arrays say is left out. Numbers are exact; those that are not finite become a Null with their reason.
/// {"command", "summary": [[key, value, unit, label]], "tables": [{"name", "key", "columns": [[name, unit,
/// type]], "cells": [values, row by row]}]}; a value that does not exist is an array of its reason.
nlohmann::json to_record(const Result& result);

/// A result from to_record()'s form. Throws DataError: it is not of this form.
Result result_from_record(const nlohmann::json& record);

}  // namespace kvviz
