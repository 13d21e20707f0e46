"""Settings: nothing is required, a wrong one is named in one line, and a secret is never shown."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from gotong.settings import SettingError, load_master_keys, load_settings
from models.vault import make_master_key

SECRET = "geheim-5ecret"


def test_nothing_set_means_embedded_parts_in_a_folder_here() -> None:
    settings = load_settings({})
    assert settings.embedded_database
    assert settings.embedded_broker
    assert settings.data_dir == Path.cwd() / ".gotong"
    assert settings.regencies == ("64.02",)


def test_an_empty_variable_counts_as_unset() -> None:
    assert load_settings({"GOTONG_DATABASE_URL": "", "GOTONG_PORT": " "}).embedded_database


def test_an_option_of_the_command_wins_over_the_environment() -> None:
    assert load_settings({"GOTONG_PORT": "7000"}, port=8000).port == 8000
    assert load_settings({"GOTONG_PORT": "7000"}, port=None).port == 7000


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("GOTONG_PORT", "99999", "65535"),
        ("GOTONG_PORT", "abc", "integer"),
        ("GOTONG_PORT", "0", "greater"),
        ("GOTONG_WORKERS", "0", "greater"),
        ("GOTONG_LANGUAGE", "fr", "'id' or 'en'"),
        ("GOTONG_LOG_LEVEL", "loud", "'debug'"),
        ("GOTONG_REGENCIES", "64.99", "'64.99'"),
        ("GOTONG_REGENCIES", "64.02.05", "'64.02.05'"),
        ("GOTONG_REGENCIES", ",", "empty"),
        ("GOTONG_KAFKA_BROKERS", "kafka", "host:port"),
        ("GOTONG_KAFKA_BROKERS", "kafka:0", "host:port"),
        ("GOTONG_KAFKA_BROKERS", "a:1,b:70000", "'b:70000'"),
        ("GOTONG_DATABASE_URL", f"mysql://root:{SECRET}@host/gotong", "PostgreSQL only"),
        ("GOTONG_DATABASE_URL", f"not a url {SECRET}", "not a database URL"),
        ("GOTONG_DATABASE_URL", f"postgresql://gotong:{SECRET}@host", "names no database"),
        ("GOTONG_DATABASE_URL", f"postgresql://gotong:{SECRET}@host:port/gotong", "not a database URL"),
        ("GOTONG_MASTER_KEY", SECRET, "base64"),
        ("GOTONG_MASTER_KEY", "A" * 43 + "=", "not random"),
        ("GOTONG_MASTER_KEY_FILE", "/nowhere/key", "cannot be read"),
        ("GOTONG_DATA_DIR", "/etc/passwd", "not a folder"),
        ("GOTONG_SOLVE_SECONDS", "-1", "greater"),
        ("GOTONG_SOLVE_SECONDS", "nan", "less"),
        ("GOTONG_DATABSE_URL", "x", "did you mean GOTONG_DATABASE_URL?"),
        ("GOTONG_COLOUR", "red", "no such setting"),
    ],
)
def test_a_wrong_setting_is_named_in_one_line_without_its_secret(name: str, value: str, said: str) -> None:
    with pytest.raises(SettingError) as caught:
        load_settings({name: value})
    message = str(caught.value)
    assert message.startswith(f"{name}: ")
    assert said in message
    assert "\n" not in message
    assert SECRET not in message


def test_every_wrong_setting_has_its_own_line() -> None:
    with pytest.raises(SettingError) as caught:
        load_settings({"GOTONG_PORT": "0", "GOTONG_LANGUAGE": "fr"})
    assert sorted(line.split(":")[0] for line in str(caught.value).splitlines()) == [
        "GOTONG_LANGUAGE",
        "GOTONG_PORT",
    ]


def test_a_secret_of_a_wrong_type_is_not_shown_either() -> None:
    with pytest.raises(SettingError) as caught:
        load_settings({}, master_key=[SECRET])
    assert str(caught.value).startswith("GOTONG_MASTER_KEY: ")
    assert SECRET not in str(caught.value)


def test_settings_printed_by_accident_show_no_secret() -> None:
    key = make_master_key()
    settings = load_settings(
        {"GOTONG_DATABASE_URL": f"postgresql://gotong:{SECRET}@host/gotong", "GOTONG_MASTER_KEY": key}
    )
    assert SECRET not in repr(settings)
    assert key not in repr(settings)


def test_a_database_of_your_own_demands_a_key_of_your_own(tmp_path: Path) -> None:
    settings = load_settings(
        {"GOTONG_DATABASE_URL": "postgresql://host/gotong", "GOTONG_DATA_DIR": str(tmp_path)}
    )
    with pytest.raises(SettingError, match=r"^GOTONG_MASTER_KEY: required"):
        load_master_keys(settings)
    assert list(tmp_path.iterdir()) == []


def test_the_local_key_is_made_once_for_this_user_only(tmp_path: Path) -> None:
    settings = load_settings({"GOTONG_DATA_DIR": str(tmp_path / "data")})
    first = load_master_keys(settings)
    assert load_master_keys(settings) == first
    assert [len(key) for key in first] == [32]
    file = tmp_path / "data" / "master.key"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in file.parent.iterdir()] == ["master.key"]


def test_keys_rotate_newest_first(tmp_path: Path) -> None:
    newest, oldest = make_master_key(), make_master_key()
    file = tmp_path / "keys"
    file.write_text(f"{newest},{oldest}\n")
    from_file = load_master_keys(load_settings({"GOTONG_MASTER_KEY_FILE": str(file)}))
    assert from_file == load_master_keys(load_settings({"GOTONG_MASTER_KEY": f"{newest},{oldest}"}))
    assert len(from_file) == 2


def test_a_key_may_be_written_in_hexadecimal() -> None:
    digits = "00112233445566778899aabbccddeeff" * 2
    assert load_master_keys(load_settings({"GOTONG_MASTER_KEY": digits})) == [bytes.fromhex(digits)]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_data_folder_that_cannot_be_written_is_a_wrong_setting(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(SettingError, match=r"^GOTONG_DATA_DIR: "):
        load_master_keys(load_settings({"GOTONG_DATA_DIR": str(tmp_path)}))


def test_a_broken_local_key_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "master.key").write_text("half a k")
    with pytest.raises(SettingError, match=r"^GOTONG_DATA_DIR: .*master\.key"):
        load_master_keys(load_settings({"GOTONG_DATA_DIR": str(tmp_path)}))
    assert (tmp_path / "master.key").read_text() == "half a k"
