import java.nio.file.*;
import java.util.*;
import java.util.concurrent.*;
import java.util.stream.*;

/** Looks at a tree in the ways of the Java library. */
public class Hello {
    public static void main(String[] arguments) throws Exception {
        Path tree = Path.of(arguments[0]);
        System.out.println("hello " + Hello.class.getProtectionDomain().getCodeSource().getLocation());
        try (Stream<Path> all = Files.walk(tree)) {
            System.out.println(all.filter(Files::isRegularFile).count());
        }
        System.out.println(Files.readAllLines(tree.resolve("src/main.c")).size());
        try {
            Files.writeString(tree.resolve("new"), "x");
        } catch (Exception refused) {
            System.out.println(refused);
        }
        System.out.println(tree.toRealPath() + " " + Files.isWritable(tree) + " " + Files.getFileStore(tree).isReadOnly());
        ExecutorService pool = Executors.newFixedThreadPool(8);
        List<Future<Long>> sizes = new ArrayList<>();
        for (int part = 1; part <= 40; part++) {
            Path file = tree.resolve("src/part" + part + ".c");
            sizes.add(pool.submit(() -> Files.size(file)));
        }
        long total = 0;
        for (Future<Long> size : sizes) total += size.get();
        System.out.println(total);
        pool.shutdown();
    }
}
