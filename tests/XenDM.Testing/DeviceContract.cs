using System;
using System.Collections.Generic;
using System.IO;
using System.Reflection;
using XenDM.Core.State;

namespace XenDM.Testing;

/// <summary>What every chip must hold: reset is repeatable, state survives a round trip byte for byte, the schema only changes on purpose.</summary>
public static class DeviceContract
{
    /// <summary>Runs all checks on a chip.</summary>
    /// <param name="make">Makes the chip on a fresh board; called several times.</param>
    /// <param name="disturb">Puts the chip in a state that is far from reset, as a driver would.</param>
    /// <param name="schema">Name of the golden file under tests/data/schema, without ending.</param>
    public static void Check<T>(Func<(TestBoard Board, T Chip)> make, Action<TestBoard, T> disturb, string schema)
        where T : IDevice
    {
        ResetIsRepeatable(make, disturb);
        StateSurvivesRoundTrip(make, disturb);
        SchemaIsTheGoldenOne(make().Chip, schema);
        EveryMutableFieldIsSaved(make().Chip);
    }

    /// <summary>
    /// Changes every field that can change after construction, and the first and last element of every array of values, one at a time: the
    /// saved state must change with it, or the field must say by <see cref="GlueAttribute"/> why it is no state of the guest.
    /// </summary>
    private static void EveryMutableFieldIsSaved(IDevice chip)
    {
        var missing = new List<string>();
        Inspect(chip, chip, missing, []);
        if (missing.Count > 0) throw new InvalidOperationException($"{chip.Id}: neither in the saved state nor marked [Glue(reason)]: {string.Join(", ", missing)}");
    }

    /// <summary>The fields of the chip, or of a part of it that has a State method of its own.</summary>
    private static void Inspect(IDevice chip, object part, List<string> missing, HashSet<object> seen)
    {
        if (!seen.Add(part)) return;
        for (var type = part.GetType(); type is not null && type != typeof(object); type = type.BaseType)
        {
            foreach (var field in type.GetFields(BindingFlags.Instance | BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.DeclaredOnly))
            {
                var property = field.Name.StartsWith('<') ? type.GetProperty(field.Name[1..field.Name.IndexOf('>')], BindingFlags.Instance | BindingFlags.Public | BindingFlags.NonPublic) : null;
                if (field.GetCustomAttribute<GlueAttribute>() is not null || property?.GetCustomAttribute<GlueAttribute>() is not null) continue;
                var value = field.GetValue(part);
                foreach (var inner in value as object?[] ?? [value])
                    if (inner?.GetType().GetMethod(nameof(IDevice.State), [typeof(StateVisitor)]) is not null) Inspect(chip, inner, missing, seen);
                if (field.FieldType.IsArray && value is Array { Length: > 0 } array && Other(array.GetValue(0)) is not null)
                {
                    if (!Probe(chip, () => array.GetValue(0), v => array.SetValue(v, 0)) && !Probe(chip, () => array.GetValue(array.Length - 1), v => array.SetValue(v, array.Length - 1)))
                        missing.Add($"{type.Name}.{field.Name}[]");
                }
                else if (!field.IsInitOnly && (Other(value) is null || !Probe(chip, () => field.GetValue(part), v => field.SetValue(part, v))))
                {
                    missing.Add($"{type.Name}.{field.Name}");
                }
            }
        }
    }

    private static bool Probe(IDevice chip, Func<object?> get, Action<object?> set)
    {
        var before = get();
        var clean = StateDumper.Dump(chip);
        set(Other(before));
        var changed = StateDumper.Dump(chip) != clean;
        set(before);
        return changed;
    }

    /// <summary>A different value of the same type; null where the type is not a plain value.</summary>
    private static object? Other(object? value) => value switch
    {
        bool b => !b,
        byte n => (byte)(n ^ 1),
        sbyte n => (sbyte)(n ^ 1),
        ushort n => (ushort)(n ^ 1),
        short n => (short)(n ^ 1),
        uint n => n ^ 1,
        int n => n ^ 1,
        ulong n => n ^ 1,
        long n => n ^ 1,
        Enum e => Enum.ToObject(e.GetType(), Convert.ToInt64(e) ^ 1),
        _ => null,
    };

    private static void ResetIsRepeatable<T>(Func<(TestBoard Board, T Chip)> make, Action<TestBoard, T> disturb)
        where T : IDevice
    {
        var (board, chip) = make();
        chip.Reset(ResetKind.Cold);
        var clean = StateDumper.Dump(chip);
        disturb(board, chip);
        chip.Reset(ResetKind.Cold);
        board.Loop.RunPosted();
        var again = StateDumper.Dump(chip);
        if (clean != again) throw new InvalidOperationException($"{chip.Id}: after a second reset the state differs:\n{clean}\nnow\n{again}");
    }

    private static void StateSurvivesRoundTrip<T>(Func<(TestBoard Board, T Chip)> make, Action<TestBoard, T> disturb)
        where T : IDevice
    {
        var (board, chip) = make();
        chip.Reset(ResetKind.Cold);
        disturb(board, chip);
        board.Clock.Stop();
        var first = Save(chip);
        var (otherBoard, other) = make();
        other.Reset(ResetKind.Cold);
        otherBoard.Clock.Stop();
        StateReader.Load([other], first);
        var second = Save(other);
        if (!first.AsSpan().SequenceEqual(second)) throw new InvalidOperationException($"{chip.Id}: saved again, the state differs:\n{StateDumper.Dump(chip)}\nnow\n{StateDumper.Dump(other)}");
        if (otherBoard.Hypervisor.IsaEdges.AsSpan().IndexOfAnyExcept(0) >= 0) throw new InvalidOperationException($"{chip.Id}: the restore made an interrupt edge");
    }

    private static byte[] Save(IDevice device)
    {
        using var stream = new MemoryStream();
        StateWriter.Save([device], stream);
        return stream.ToArray();
    }

    private static void SchemaIsTheGoldenOne(IDevice chip, string name)
    {
        var path = Path.Combine(DataFolder(), "schema", name + ".txt");
        var now = StateSchema.Print(chip);
        if (Environment.GetEnvironmentVariable("XENDM_WRITE_SCHEMA") == "1")
        {
            Directory.CreateDirectory(Path.GetDirectoryName(path)!);
            File.WriteAllText(path, now);
        }

        var golden = File.Exists(path) ? File.ReadAllText(path) : "(no such file)";
        if (golden != now) throw new InvalidOperationException($"{chip.Id}: the schema differs from {path}. If the change is meant, add fields with since: and a new StateVersion, and run the tests with XENDM_WRITE_SCHEMA=1.\nGolden:\n{golden}\nNow:\n{now}");
    }

    /// <summary>The folder tests/data of the checkout.</summary>
    public static string DataFolder()
    {
        for (var folder = new DirectoryInfo(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
            if (File.Exists(Path.Combine(folder.FullName, "XenDM.sln"))) return Path.Combine(folder.FullName, "tests", "data");
        throw new DirectoryNotFoundException("XenDM.sln is in no folder above the tests");
    }
}
